"""Word vectors beside gensim's Word2Vec: quality at equal text, dimension, window, negatives and epochs, and words a second.

    python benchmarks/word_vectors.py --data-dir DATA --task words-skipgram --seeds 5

Both get the same blocks of words as sentences, in random order: in the text's own order gensim comes to less, as what comes last counts
most. Needs gensim (``pip install 'tombola[words]'``). Wall seconds hold
whatever else the machine does; processor seconds do not, and are what the ratio of one replica to gensim's workers is also given by.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import tombola as tb
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.data.word_sets import FILES, analogies, pairs
from tombola.evaluation.words import analogies as answered
from tombola.evaluation.words import spearman
from tombola.kernels.device import cores


def worth(vectors, words, folder):
    """Rank correlation on each set, and the share of all analogies that are answered."""
    sets = {name: pairs(name, words, folder) for name in FILES}
    found = {name: spearman(vectors, one.places, one.scores) for name, one in sets.items() if one is not None}
    asked = analogies(words, folder)
    return found | ({} if asked is None else {"analogies": answered(vectors, asked)})


def timed(function):
    wall, processor = time.monotonic(), time.process_time()
    found = function()
    return found, time.monotonic() - wall, time.process_time() - processor


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--task", default="words-skipgram")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    from gensim.models import Word2Vec

    task = tb.task(options.task)
    dataset, objective = load(task.data, options.data_dir), task.objective
    epochs, dimension = 5, 64
    blocks = dataset.inputs[split(dataset, task.data, 0).train]
    sentences = [[dataset.words[token] for token in block] for block in blocks.tolist()]
    read, found = blocks.size * epochs, []
    start = tb.train(task, replicates=1, until="2it", data_dir=options.data_dir)  # compiled now
    assert start.runs

    def gensims(seed):
        settings = {
            "vector_size": dimension,
            "window": objective.window,
            "negative": int(objective.negatives),
            "sample": objective.subsample,
        }
        model = Word2Vec(sg=1, min_count=1, workers=cores(), seed=seed, **settings)
        model.build_vocab(sentences)
        _, wall, processor = timed(lambda: model.train(sentences, total_examples=len(sentences), epochs=epochs))
        return np.stack([model.wv[word] for word in dataset.words]), wall, processor

    for seed in range(options.seeds):
        trained, wall, processor = timed(lambda seed=seed: tb.train(task, replicates=1, seed=seed, data_dir=options.data_dir))
        vectors = trained.final["input/embedding"][0]
        row = {"seed": seed, "who": "tombola", "wall": wall, "processor": processor, "words": read / wall}
        found.append(row | worth(vectors, dataset.words, options.data_dir))
        vectors, wall, processor = gensims(seed)
        row = {"seed": seed, "who": "gensim", "wall": wall, "processor": processor, "words": read / wall}
        found.append(row | worth(vectors, dataset.words, options.data_dir))
        print(
            *(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in one.items()}) for one in found[-2:]),
            sep="\n",
            flush=True,
        )
    together, wall, processor = timed(lambda: tb.train(task, replicates=8, seed=100, data_dir=options.data_dir))
    assert len(together.runs) == 8
    eight = {"who": "tombola, 8 replicas", "wall": wall, "processor": processor, "words": 8 * read / wall}
    print(json.dumps(eight), flush=True)
    median = lambda who, name: float(np.median([one[name] for one in found if one["who"] == who]))  # noqa: E731
    names = [name for name in found[0] if name not in ("seed", "who")]
    table = {name: {who: median(who, name) for who in ("tombola", "gensim")} for name in names}
    for name, both in table.items():
        print(f"{name:12} tombola {both['tombola']:12.4f}  gensim {both['gensim']:12.4f}")
    if options.output:
        options.output.write_text(json.dumps({"median": table, "eight": eight, "runs": found, "cores": cores()}, indent=1))


if __name__ == "__main__":
    main()
