"""The command ``samebits``: train language models with the same bits on every machine, and find what changes yours.

- ``app``: the commands and their options; ``terminal``: what they print and their exit status;
- ``training``, ``generation``, ``evaluation``: the commands around a language model, ``run_folders`` the folders they keep;
- ``drift_output``: the drift report in color and with a progress bar;
- ``mpi``: the workers of a command; ``launcher`` starts them, ``cores`` shares the cores of a machine between them;
- ``curve``: the loss as a picture; ``memory``: a setting of malloc that makes training faster.
"""

from samebits.cli.cores import share_cores

share_cores()  # before NumPy is imported
