"""Floor 0: the wires of the providers, as pure types and codecs. No sockets; doors and providers both read them."""
