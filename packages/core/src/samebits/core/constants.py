"""Constants of the elementary functions; made by `scripts/coefficients.py`, not by hand.

Polynomials have their highest power first. A constant in several parts is their sum: all parts but the last have so
few bits that their product with an integer of the size in use is exact.
"""

# log 2
LN2 = (
    0.6931471805598903,
    5.497923018708371e-14,
)
# log 2, rounded
LN2_WHOLE = 0.6931471805599453
# 1 / log 2
INV_LN2 = 1.4426950408889634
# the square root of 1/2
ROOT_HALF = 0.7071067811865476
# log 2 / log 10
LOG10_2 = (
    0.30102999566395283,
    2.8363394551044964e-14,
)
# 1 / log 10
INV_LN10 = 0.4342944819032518
# pi
PI = (
    3.1415926534682512,
    1.2154201012607932e-10,
    4.044532497591901e-21,
)
# pi, rounded
PI_WHOLE = 3.141592653589793
# 1 / pi
INV_PI = 0.3183098861837907
# pi, for products with 26 bits
PI_SHORT = (
    3.1415926814079285,
    -2.7818135228334233e-08,
)
# r coth(r/2) as a polynomial in r^2, |r| <= log(2)/2
COTH = (
    4.1437725653582016e-08,
    -1.6534060165972636e-06,
    6.613756471707873e-05,
    -0.0027777777777564573,
    0.1666666666666666,
    2.0,
)
# t coth(t log(2)/2) as a polynomial in t^2, |t| <= 1/2, to 7e-9: enough for what is rounded to float32
COTH_SHORT = (
    -0.0009211135213008522,
    0.11552415967147486,
    2.8853900869218165,
)
# 2 atanh(s) = 2 s + s^3 ATANH(s^2), |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)
ATANH = (
    0.14616449685043406,
    0.15331721600556042,
    0.18182889125261723,
    0.2222221113479508,
    0.28571428625975487,
    0.39999999999899505,
    0.666666666666667,
)
# sin(r) = r + r^3 SINE(r^2), |r| <= pi/2
SINE = (
    2.7314447669863995e-15,
    -7.643970296798572e-13,
    1.6058977312464087e-10,
    -2.5052107616996182e-08,
    2.7557319219163234e-06,
    -0.00019841269841254974,
    0.008333333333333316,
    -0.16666666666666666,
)
# log(1 + erf(t)) = t ERF_OVER(t) / ERF_UNDER(t), -6 <= t <= 0
ERF_OVER = (
    -1.642166590359947e-05,
    0.0006352688916073207,
    -0.008536417104735471,
    0.0624382663000917,
    -0.29001572140470044,
    0.9114803623536394,
    -1.9712140445983444,
    2.868153946415416,
    -2.58536839491276,
    1.1283791670955126,
)
ERF_UNDER = (
    1.6423042093295194e-05,
    -0.0006350320407379379,
    0.008453335617877105,
    -0.06016164220464653,
    0.2662935056349931,
    -0.7736383231591158,
    1.4763810941392852,
    -1.727033500238511,
    1.0,
)
# The first 1216 bits of 1 / pi
INV_PI_BITS = 1216
INV_PI_DIGITS = int(
    "517cc1b727220a94fe13abe8fa9a6ee06db14acc9e21c820ff28b1d5ef5de2b0db92371d2126"
    "e9700324977504e8c90e7f0ef58e5894d39f74411afa975da24274ce38135a2fbf209cc8eb1c"
    "c1a99cfa4e422fc5defc941d8ffc4bffef02cc07f79788c5ad05368fb69b3f6793e584dba7a3"
    "1fb34f2ff516ba93dd63f5f2f8bd9e839cfbc529497535fdafd88fc6ae842b0198237e3db5d5",
    16,
)
