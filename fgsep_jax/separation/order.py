"""Which output is whose along a recording: models trained without an order choose it anew in each
window."""

from collections.abc import Collection, Iterator
import itertools

import numpy as np

BANDS = 24  # of a window's spectrum, equally wide on a logarithmic axis
OVERLAP_WEIGHT = 1.0  # of the correlation of overlaps, times their share of the usual energy
SPECTRUM_WEIGHT = 0.2  # of a squared difference of 1 dB, times the window's share of energy
SWAP_COST = 0.15  # of leaving the model's own order
MARGIN = 0.2  # what is decided by less is told
MOST = 5  # sources whose S! orders are all compared, each with each, in all windows together


class Order:
    """Gathers what windows tell about the order of their sources, and finds the best path.

    Args:
      rate: of the estimates, in hertz.
    """

    def __init__(self, rate: float):
        self._rate, self._previous = rate, None
        self._links, self._energies, self._spectra, self._shares = [], [], [], []

    def add(self, estimate_SCW: np.ndarray, hop: int) -> None:
        """Takes the next window in.

        Args:
          estimate_SCW: its estimates [sources, channels, samples].
          hop: samples from the start of the window before.
        """
        mean_SW = estimate_SCW.mean(axis=1)
        if self._previous is not None:
            before_ST = self._previous[:, hop:]
            now_ST = mean_SW[:, : before_ST.shape[1]]
            self._links.append(before_ST @ now_ST.T)
            self._energies.append(0.5 * (np.sum(before_ST**2) + np.sum(now_ST**2)))
        self._previous = mean_SW
        power_SF = np.abs(np.fft.rfft(mean_SW, axis=1)) ** 2
        edges = np.geomspace(100, self._rate / 2, BANDS + 1) * mean_SW.shape[1] / self._rate
        edges = np.minimum(edges.astype(int), power_SF.shape[1] - 1)
        bands_SB = np.stack(
            [power_SF[:, a : max(b, a + 1)].sum(axis=1) for a, b in zip(edges[:-1], edges[1:])], 1
        )
        total_S = bands_SB.sum(axis=1, keepdims=True)
        self._spectra.append(10 * np.log10(bands_SB / np.maximum(total_S, 1e-20) + 1e-4))
        self._shares.append(total_S[:, 0])

    def path(self) -> tuple[np.ndarray, np.ndarray]:
        """The best order along the recording; of more than `MOST` sources, the best of each window
        after that of the window before.

        Returns:
          (permutations [windows, sources]: which output is each source; margin [windows - 1] by
          which the order of a window against the one before was decided).
        """
        count, sources = len(self._spectra), len(self._shares[0])
        if sources == 1 or count == 1:
            return np.tile(np.arange(sources), (count, 1)), np.full(max(count - 1, 0), np.inf)
        spectra_WSB, share_WS = np.array(self._spectra), np.array(self._shares)
        share_WS = share_WS / max(share_WS.sum(axis=1).mean(), 1e-20)
        weight_WS = np.minimum(share_WS, 1.0)
        link_WSR = np.array(self._links) / max(np.mean(self._energies), 1e-20)
        if sources > MOST:
            return _one_by_one(link_WSR, spectra_WSB, weight_WS)
        choices = np.array(list(itertools.permutations(range(sources))))
        link_WPQ = np.array(
            [[[link_SR[p, q].sum() for q in choices] for p in choices] for link_SR in link_WSR]
        )
        link_WPQ = OVERLAP_WEIGHT * np.minimum(link_WPQ, 1.0) - SWAP_COST * (
            1 - np.eye(len(choices))
        )
        # How a permutation [P] turns into another [Q].
        change_PQS = choices.T[np.argsort(choices)].transpose(0, 2, 1)
        path_W, margin_W = _best(np.zeros((count, len(choices))), link_WPQ, change_PQS)
        for _ in range(10):
            # Each speaker's long-term spectrum under this order, and how well each window fits.
            order_WS = choices[path_W]
            rows = np.arange(count)[:, None]
            weight = weight_WS[rows, order_WS][..., None]
            mean_SB = (spectra_WSB[rows, order_WS] * weight).sum(0) / np.maximum(
                weight.sum(0), 1e-9
            )
            distance_WSR = (
                np.square(spectra_WSB[:, :, None] - mean_SB[None, None]).mean(axis=3)
                * weight_WS[:, :, None]
            )
            unary_WP = -SPECTRUM_WEIGHT * np.stack(
                [distance_WSR[:, p, np.arange(sources)].sum(axis=1) for p in choices], 1
            )
            before, (path_W, margin_W) = path_W, _best(unary_WP, link_WPQ, change_PQS)
            if np.array_equal(before, path_W):
                break
        first = path_W[0]
        if first:  # the first window's own order names the sources
            inverse = np.argsort(choices[first])
            return choices[path_W][:, inverse], margin_W
        return choices[path_W], margin_W


def _one_by_one(link_WSR, spectra_WSB, weight_WS):
    """As `Order.path`; `link_WSR` are the outputs of each window against those of the next."""
    kept_S = np.arange(weight_WS.shape[1])
    orders, margins = [kept_S], []
    sum_SB, weight_S = spectra_WSB[0] * weight_WS[0, :, None], weight_WS[0].copy()
    for link_SR, spectrum_SB, share_S in zip(link_WSR, spectra_WSB[1:], weight_WS[1:]):
        mean_SB = sum_SB / np.maximum(weight_S, 1e-9)[:, None]
        distance_SR = np.square(mean_SB[:, None] - spectrum_SB[None]).mean(axis=2) * share_S
        value_SR = OVERLAP_WEIGHT * link_SR[kept_S] - SPECTRUM_WEIGHT * distance_SR
        sources, order_S = _matched(value_SR)
        gained = (value_SR[sources, order_S] - value_SR[sources, kept_S]).sum() - SWAP_COST
        if gained <= 0:
            order_S = kept_S
        # By how much any two sources would be worse off in one another's place.
        value_SS = value_SR[:, order_S]
        own_S = np.diagonal(value_SS)
        worse_SS = own_S[:, None] + own_S[None] - value_SS - value_SS.T
        nearest = worse_SS[np.triu_indices(len(sources), 1)].min()
        margins.append(min(nearest, gained) if gained > 0 else nearest + SWAP_COST)
        orders.append(order_S)
        kept_S = order_S
        sum_SB += spectrum_SB[order_S] * share_S[order_S, None]
        weight_S += share_S[order_S]
    return np.array(orders), np.array(margins)


def _best(unary_WP, link_WPQ, change_PQS):
    """Viterbi's path [W], and of each link how much worse the best path with another change is."""
    count = len(unary_WP)
    forward_WP, backward_WP = unary_WP.copy(), unary_WP.copy()
    for w in range(1, count):
        forward_WP[w] += (forward_WP[w - 1][:, None] + link_WPQ[w - 1]).max(axis=0)
    for w in range(count - 2, -1, -1):
        backward_WP[w] += (link_WPQ[w] + backward_WP[w + 1][None]).max(axis=1)
    path_W = np.argmax(forward_WP + backward_WP - unary_WP, axis=1)
    path_W[-1] = np.argmax(forward_WP[-1])
    for w in range(count - 2, -1, -1):
        path_W[w] = np.argmax(forward_WP[w] + link_WPQ[w][:, path_W[w + 1]])
    margin_W = np.empty(count - 1)
    for w in range(count - 1):
        through_PQ = forward_WP[w][:, None] + link_WPQ[w] + backward_WP[w + 1][None]
        same_PQ = (change_PQS == change_PQS[path_W[w], path_W[w + 1]]).all(axis=-1)
        margin_W[w] = through_PQ[same_PQ].max() - through_PQ[~same_PQ].max(initial=-np.inf)
    return path_W, margin_W


def _matched(value_SR):
    """(rows, their columns), one each, of the largest sum."""
    from scipy.optimize import linear_sum_assignment  # a seventh of a start, and of no use to most

    return linear_sum_assignment(value_SR, maximize=True)


def channels_in_order(blocks: Collection[np.ndarray]) -> Iterator[np.ndarray]:
    """Brings the sources of every channel into the order of the first, one order for all blocks.

    Args:
      blocks: [sources, channels, samples]; gone through twice.

    Returns:
      The same, in that order.
    """
    like_CSS = sum(np.einsum('st,rct->csr', block_SCT[:, 0], block_SCT) for block_SCT in blocks)
    order_CS = np.stack([_matched(np.abs(like_SS))[1] for like_SS in like_CSS])
    return (np.take_along_axis(block_SCT, order_CS.T[..., None], axis=0) for block_SCT in blocks)
