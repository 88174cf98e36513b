"""What is learnt: classification, regression, reconstruction, a variational autoencoder's bound (`elbo`), and a user's own.

One of a user's own is a class:

    @tb.objectives.register
    class focal(tb.objectives.Classification):
        gamma: float = 2.0

        def loss(self, outputs, targets):
            p = jax.nn.softmax(outputs)[jnp.arange(len(targets)), targets]
            return -((1 - p) ** self.gamma) * jnp.log(p)
"""

from tombola.core.objective import Measure as Measure
from tombola.core.objective import Objective as Objective
from tombola.core.objective import objectives as objectives
from tombola.core.objective import register as register
from tombola.objectives.adversarial import Attacked as Attacked
from tombola.objectives.classification import Classification as Classification
from tombola.objectives.elbo import Elbo as Elbo
from tombola.objectives.reconstruction import Reconstruction as Reconstruction
from tombola.objectives.regression import Regression as Regression
from tombola.objectives.skip_gram import SkipGram as SkipGram
