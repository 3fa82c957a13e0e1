"""The drift map: which results change with the NumPy version, the CPU, the BLAS kernel, the threads or the C library.

- ``operations`` (with ``operation``, ``inputs``, ``elements``, ``arrays``): what is tried, and the samebits twin of each;
- ``record``: one cell measured under every variant; ``map`` and ``picture``: the cells joined, as a page and a heat map;
- ``verdict`` (with ``probe``, ``difference``): the same question about a function of the user's; ``report``: what is printed.
"""
