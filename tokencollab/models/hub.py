"""Bring one model from the Hugging Face hub. Run as a program, so that Ctrl-C ends the download immediately:

    python -P hub.py ORGANISATION/NAME

The folder is printed as the last line of standard output. Files stay in the hub's own cache, where an
interrupted download is resumed and others find them too. Python files and pickles are never fetched.
"""

import sys

NOT_FOUND = 3  # exit code: the hub answered that it has no such model
WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]
UNWANTED = ["*/*", "consolidated*"]  # sub-folders hold other formats; consolidated files hold the weights twice


def main() -> int:
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415

    reasons: list[tuple[type[Exception], str, int]] = [  # the first that fits
        (errors.GatedRepoError, "its licence must be accepted on the hub first", 1),
        (errors.RepositoryNotFoundError, "no such model on the hub, or it is private", NOT_FOUND),
        (errors.LocalEntryNotFoundError, "the hub cannot be reached", 1),
        (errors.HfHubHTTPError, "the hub answered with an error", 1),
        (OSError, "the hub cannot be reached, or the disk is full", 1),
        (Exception, "the hub cannot be reached", 1),  # the HTTP library's errors share no base class
    ]
    try:
        print(snapshot_download(sys.argv[1], allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as error:
        reason, code = next((text, code) for kind, text, code in reasons if isinstance(error, kind))
        print(f"{reason} ({type(error).__name__})", file=sys.stderr)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
