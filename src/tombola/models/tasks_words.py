"""Tasks of word vectors."""

from tombola.core.step import Step
from tombola.core.task import Data, Model, Recipe, Task
from tombola.models.tasks import tasks


def _words(scale: str, data: str) -> Task:
    """The recipe of word2vec: the learning rate falls from .025 to .0001 over five epochs. A step reads 512 words."""
    recipe = Recipe(
        steps=Step("5ep"),
        batch=16,
        learning_rate=0.025,
        optimizer="sgd",
        schedule="linear",
        schedule_options={"end": 0.004},
        evaluate_every=Step("1ep"),
    )
    if scale == "smoke":
        recipe = recipe.but(steps="300it", evaluate_every="150it")
    model = Model(name="skip_gram", initializer="own")
    found = Task(data=Data(name=data), model=model, recipe=recipe, rates={"embedding": 0.3, "output": 0.3}, scope="global")
    return found.but(objective="skip_gram")


@tasks.register("words-skipgram")
def words_skipgram(scale: str) -> Task:
    """Vectors of 64 numbers of the 29,087 words of 20 million characters of Wikipedia, by skip-gram (Mikolov et al. 2013)."""
    return _words(scale, "wikipedia-4m" if scale == "smoke" else "wikipedia")


@tasks.register("words-skipgram-4m")
def words_skipgram_4m(scale: str) -> Task:
    """The same of the first 4 million characters, 10,601 words."""
    return _words(scale, "wikipedia-4m")


@tasks.register("words-parts")
def words_parts(scale: str) -> Task:
    """The tenth of 4 million characters of Wikipedia in which a block of 64 words stands, told by the mean of the words' vectors."""
    recipe = Recipe(steps=Step("3000it"), batch=64, learning_rate=1e-3, evaluate_every=Step("100it"), test_every=Step("500it"))
    if scale == "smoke":
        recipe = recipe.but(steps="60it", evaluate_every="30it", test_every="30it")
    rates = {"embedding": 0.2, "dense": 0.2, "output": 0.1}
    return Task(data=Data(name="wikipedia-parts"), model=Model(name="bag_of_words"), recipe=recipe, rates=rates)
