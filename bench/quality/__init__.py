"""How good the parts that judge are, on public data beside published figures."""

import os

# Two tasks run at a time: threads of numpy would wait for each other actively, which takes thirty times as long on two cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
