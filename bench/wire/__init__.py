"""Recorded exchanges with real providers, replayed through the adapters: `python -m bench.wire DATA`.

`exchanges` reads what was recorded, `asked` turns a recorded request into ours, `server` answers with the recorded response,
`oracle` says what that response holds without any code of Mainstay's, `kept` compares the request that was sent with the one that
was recorded, `replay` does one of them, `report` prints what came of all.
"""
