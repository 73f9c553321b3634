"""Aggregations and exits of the caller's, named by `--plugin MODULE:CLASS`."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from tokencollab.cli.arguments import Parser, add_plugin
from tokencollab.errors import UsageError
from tokencollab.policies.methods import register


def load_plugins(argv: Sequence[str] | None) -> None:
    """Registers the aggregations and exits that ``argv`` names."""
    parser = Parser(prog="tokencollab", add_help=False)
    add_plugin(parser)
    for plugin in parser.parse_known_args(argv)[0].plugin or ():
        module, _, name = plugin.partition(":")
        if not module or not name:
            form = "MODULE:CLASS, e.g. examples.own_aggregation:Median"
            raise UsageError(f"the plugin {plugin!r} is not of the form {form}")
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            found = getattr(import_module(module), name)
        except AttributeError:
            raise UsageError(f"the plugin {plugin}: the module has no {name}") from None
        except Exception as error:  # it is somebody's code
            raise UsageError(f"the plugin {plugin} cannot be imported: {type(error).__name__}: {error}") from error
        register(found)
