"""One package a paper and one module an idea. Importing any of it registers all studies."""

from tombola.studies import frankle2019 as frankle2019
