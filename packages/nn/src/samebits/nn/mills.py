"""Constants of the ratio of Mills, for `gelu`; made by `packages/core/scripts/coefficients.py`, not by hand.

Polynomials have their highest power first.
"""

# Phi(-a) / phi(a) = MILLS_OVER(a) / MILLS_UNDER(a), 0 <= a <= 15, to 3e-14
MILLS_OVER = (
    8.302886864440004e-05,
    0.001687815089788756,
    0.016444104249541656,
    0.09806289382860568,
    0.3846160974312171,
    0.9945990946813902,
    1.588566027463553,
    1.2533141373154821,
)
MILLS_UNDER = (
    8.302886968191747e-05,
    0.0016878149879836666,
    0.016527137723602023,
    0.09975058078358681,
    0.40089661210749183,
    1.0892512521038136,
    1.9415075770547712,
    2.0653768679296483,
    1.0,
)
