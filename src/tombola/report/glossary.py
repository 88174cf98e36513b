"""What the words of a report mean, for a reader who meets them here."""

from tombola.evaluation.verdict import LEAST_UNITS

GLOSSARY = {
    "Density": "is the share of its prunable weights that a network has left; biases are not counted.",
    "Level": "is the number of rounds of pruning before, where level 0 is the dense network; in a study of steps k or of widths it is "
    "the place in their list, in a study of layers reset together their number.",
    "Replicate": "is the whole experiment once more from another seed, which draws another initialisation, another order of the "
    "data and another validation set; arms are compared within a replicate.",
    "Early stop": "is the iteration of least validation loss, found afterwards: training always runs to its end. Where it is "
    "the last evaluation it is censored, as the minimum may lie beyond.",
    "Step k": "is the iteration from which copies of one network go on apart, and to which rewinding puts the weights back that "
    "pruning has kept.",
    "Error barrier": "is the largest error on the straight line between the weights of two networks, minus the mean of the errors at "
    "its ends, in percentage points (pp).",
    "Instability": "at step k is the error barrier between copies that go on from the same weights at k with other orders of the data.",
    "Stable": "means that the instability is below the threshold, 2 pp unless the study says another.",
    "Matching": "means no worse than the dense network by more than a margin that the study names, after the same "
    "number of iterations in all.",
    "Re-initialised": "means that a layer of the trained network is put back to its value at an earlier step, and nothing is trained "
    "again.",
    "Re-randomised": "means that it is given a fresh draw from its own initialiser instead.",
    "Robust": "is a layer whose resetting to its initial value raises the error by no more than 1 percentage point (pp), or two standard "
    "deviations over replicates where that is more, unless the study says another.",
    "Critical": "is a layer whose resetting to its initial value takes the error at least half-way to that of chance.",
    "Module criticality": "of a layer is the squared distance from its initial to its final weights over the variance of the noise that "
    "it withstands there, the least over the way between them (Chatterji et al. 2020).",
    "95 % interval": "is Student's t-interval of a mean over replicates: of 100 such intervals about 95 hold the mean that "
    "endlessly many replicates would have.",
    "p": "is how often effects at least as large come about if each replicate's sign is left to chance (two-sided sign-flip test).",
    "Holm": "marks p-values at single levels, raised so that with all levels taken together a false alarm is no likelier than the "
    "threshold that they are held against.",
    "Replicated": "means that the interval of every effect that decides lies wholly on the side that the claim says.",
    "Not replicated": "means that one lies wholly below the least effect that would count.",
    "Undecided": f"is the rest: an interval reaches over 0, or there are fewer than {LEAST_UNITS} replicates.",
}
"""Term -> the rest of a sentence that begins with it."""
