"""The words everyone speaks: pieces, candidates, messages, events' data, errors and the wire format."""
