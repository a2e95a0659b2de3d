"""What is learned: bundled digits, MNIST-like files in a folder, your own arrays."""

from ._augmentation import (
    AbstractAugmentation as AbstractAugmentation,
    Shift as Shift,
)
from ._dataset import Dataset as Dataset, dataset as dataset, one_hot as one_hot
from ._digits import digits as digits
from ._fetch import fetch as fetch
from ._folder import idx_folder as idx_folder
from ._idx import read_idx as read_idx
from ._named import (
    fashion_mnist as fashion_mnist,
    kmnist as kmnist,
    locate as locate,
    mnist as mnist,
)
from ._order import (
    AbstractOrder as AbstractOrder,
    GivenOrder as GivenOrder,
    in_batches as in_batches,
    InOrder as InOrder,
    Shuffled as Shuffled,
)
from ._splits import Splits as Splits
