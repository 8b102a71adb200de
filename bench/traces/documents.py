# What the interpreter's trace is recorded from: four threads that make, index, query and forget documents.
import collections
import itertools
import json
import random
import re
import threading

SYLLABLES = ("lo", "mar", "ten", "is", "ka", "vu", "ron", "del", "um", "te", "sa")
WORDS = ["".join(s) for s in itertools.product(SYLLABLES, repeat=3)]
WEIGHTS = list(itertools.accumulate(1 / (1 + n) for n in range(len(WORDS))))  # few words are frequent
TEXT = " ".join(random.Random(1).choices(WORDS, cum_weights=WEIGHTS, k=20000))


class Document:
    def __init__(self, number, rng):
        start = rng.randrange(len(TEXT) - 10000)
        self.number = number
        self.text = TEXT[start : start + 5 + int(rng.lognormvariate(5, 1.2))]
        self.tags = {word: number % 1000 for word in self.text[:40].split()}

    def encode(self):
        return json.dumps({"number": self.number, "text": self.text, "tags": self.tags})


class Shelf:
    """The newest documents, and which words are in which of them."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.documents = collections.OrderedDict()
        self.index = collections.defaultdict(set)
        self.lock = threading.Lock()

    def put(self, document):
        words = re.findall(r"\w+", document.text)
        with self.lock:
            self.documents[document.number] = (document, words)
            for word in words:
                self.index[word].add(document.number)
            while len(self.documents) > self.capacity:
                old, (_, words) = self.documents.popitem(last=False)
                for word in words:
                    self.index[word].discard(old)

    def query(self, words):
        with self.lock:
            found = set.intersection(*(self.index[w] for w in words))
            texts = [self.documents[n][0].encode() for n in sorted(found)[:10]]
        return [json.loads(t)["tags"] for t in texts]


def work(shelf, seed, rounds):
    rng = random.Random(seed)
    for i in range(rounds):
        shelf.put(Document(seed * 1_000_000 + i, rng))
        if i % 8 == 0:
            hits = shelf.query(rng.choices(WORDS, cum_weights=WEIGHTS, k=2))
            sorted((tag, weight) for tags in hits for tag, weight in tags.items())
        if i % 400 == 399:  # busy times and quiet times
            shelf.capacity = 2000 if shelf.capacity > 2000 else 4000


def main():
    shelf = Shelf(4000)
    threads = [threading.Thread(target=work, args=(shelf, seed, 1150)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


main()
