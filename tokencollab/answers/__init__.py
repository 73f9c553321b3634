"""What a text answers, in one form that can be compared: extraction and equality of answers. Pure, standard library.

Strict about the answer and tolerant about its markup: "The answer is **$1,234.50**.", ``#### 1234.5`` and
``\\boxed{\\frac{2469}{2}}`` are one answer, and a text from which none can be read has None.

The public names are in `__init__.pyi`; `reading` is imported when it is first used: its patterns take half a second to
compile.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
