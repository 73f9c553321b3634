"""Tables and figures of evaluations, as one HTML page and as Markdown. Data frames are pandas', charts matplotlib's."""

from importlib.util import find_spec

from tokencollab.errors import UsageError

if not all(map(find_spec, ("pandas", "matplotlib", "scipy"))):
    raise UsageError("the report needs pandas and matplotlib: pip install 'tokencollab[eval]'")
