"""Several language models with different tokenizers write one answer together, token by token.

The public names are in `__init__.pyi`, and each is imported when it is first used: a command that needs few of them
starts at once.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
