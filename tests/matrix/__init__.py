"""The core of the suite and ``fastbg demo all``, on a matrix of Pythons and of versions of the libraries."""
