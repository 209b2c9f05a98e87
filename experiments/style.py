"""The styles and labels of the paper's networks in the figures."""

from bn.compare.style import LOOKS
from bn.compare.style import RC as RC
from bn.compare.style import applied as applied
from bn.compare.style import figure as figure
from bn.compare.style import save as save
from bn.compare.style import thousands as thousands

WITHOUT, WITH, *_ = LOOKS
STYLE = {
    "mnist_baseline": WITHOUT,
    "mnist_bn": WITH,
    "inception": WITHOUT,
    "bn_baseline": LOOKS[2],
    "bn_x5": WITH,
    "bn_x30": LOOKS[3],
    "bn_x5_sigmoid": LOOKS[4],
    "inception_x5": LOOKS[5],
    "inception_sigmoid": LOOKS[6],
}
LABEL = {
    "mnist_baseline": "without BN",
    "mnist_bn": "with BN",
    "inception": "Inception",  # this and the next four as in the legend of the paper's Figure 2
    "bn_baseline": "BN-Baseline",
    "bn_x5": "BN-x5",
    "bn_x30": "BN-x30",
    "bn_x5_sigmoid": "BN-x5-Sigmoid",
    "inception_x5": "Inception at x5",
    "inception_sigmoid": "Inception, sigmoid",
}
