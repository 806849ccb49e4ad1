"""The core tests and ``fastbg demo all`` with many versions of Python and of the libraries."""
