"""A web page that shows who backs every piece."""
