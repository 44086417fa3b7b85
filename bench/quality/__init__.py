"""How good the parts that judge are, on public data beside published figures."""
