"""The HTTP door: a plain ASGI application that can be mounted in another.

app = mainstay.open(".")
application = mainstay.doors.http.door.HttpDoor(app)
"""
