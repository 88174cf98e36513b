"""What the words of a report mean, for a reader who meets them here."""

from tombola.evaluation.verdict import LEAST_UNITS, LEVEL

GLOSSARY = {
    "Mask": "says of each prunable weight whether it is kept (1) or pruned (0); a pruned weight does not train.",
    "Density": "is the share of its prunable weights that a network has left; biases are not counted.",
    "Ticket": "is the mask of a trained network together with the values from which the kept weights train again; it wins if they come to "
    "what the dense network comes to, in as many iterations at most.",
    "Rewinding": "puts the kept weights back to the values that they had at the beginning, or at a step k, before they are trained again.",
    "Supermask": "is a mask under which a network does better than chance, although its weights were never trained.",
    "Level": "is the number of rounds of pruning so far; level 0 is the dense network. In a study of steps k or of widths it is the "
    "place in their list, in a study of layers that are reset together it is their number.",
    "Arm": "is one of the ways of making a network that a study compares, such as the ticket and a random mask.",
    "Replicate": "is the whole experiment once more from another seed: another initialisation, another order of the data, another "
    "validation set. Arms are compared within a replicate.",
    "Early stop": "is the iteration with the lowest validation loss, found afterwards: training always runs to its end. If it is the "
    "last evaluation it is censored, because the minimum may lie beyond it.",
    "Step k": "is the iteration from which copies of one network are trained apart, and to which rewinding puts the kept weights back.",
    "Error barrier": "is the largest error on the straight line between two networks, minus the mean error at its two ends, in "
    "percentage points (pp).",
    "Instability": "at step k is the error barrier between copies that go on from the same weights at k with different orders of the data.",
    "Stable": "means that the instability is below the threshold: 2 pp, unless the study names another.",
    "Matching": "means no worse than the dense network by more than the study's margin, after the same total number of iterations.",
    "Re-initialised": "means that a layer of the trained network is put back to its value at an earlier step; nothing is trained again.",
    "Re-randomised": "means that it gets a fresh draw from its own initialiser instead.",
    "Robust": "is a layer that can be put back to its initial value while the error rises by no more than the study's threshold, or by two "
    "standard deviations over replicates where that is more.",
    "Critical": "is a layer that, put back to its initial value, takes the error at least half of the way to that of chance.",
    "Module criticality": "of a layer is the squared distance from its initial to its final weights over the variance of the noise that "
    "it withstands there, the least over the way between them (Chatterji et al. 2020).",
    "95 % interval": "is Student's t-interval of the mean over replicates: of 100 such intervals, about 95 contain the mean over "
    "endlessly many replicates.",
    "p": "is how often an effect at least as large would come about if the sign of each replicate were left to chance (two-sided "
    "sign-flip test).",
    "Holm": "marks p-values that are raised because several tests are made at once, so that a false alarm among all of them stays as "
    "rare as it would be in one.",
    "Part": "is one effect that the claim's sentence states. A part that is shown, not judged, stands in the table but not in the "
    "sentence, and never changes the verdict.",
    "Least": "is the smallest effect that would count: the paper's where it names one, else what the measure can resolve; 0 where any "
    "difference counts.",
    "Holds": f"is said of a part whose interval lies wholly above its least effect, with p at most {LEVEL:g}.",
    "Contradicted": f"is said of a part whose interval lies wholly at or below its least effect, with Holm's p at most {LEVEL:g} over the "
    "parts of the claim.",
    "Replicated": "means that every part was judged, and that each holds.",
    "Replicated in part": "means that some parts hold and none is contradicted; the others are undecided or not judged.",
    "Not replicated": "means that a part is contradicted.",
    "Undecided": "means that something was judged, but that no part holds and none is contradicted: an interval reaches over the least "
    "effect.",
    "Not judged": f"means that a precondition is missing, and says which: at least {LEAST_UNITS} independent replicates; at most a quarter "
    "of the early stops censored, where they matter; room for the effect; the networks and data that the sentence is about.",
}
"""Term -> the rest of a sentence that begins with it."""
