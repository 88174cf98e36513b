"""``python -m tombola``."""

from tombola.cli import main

raise SystemExit(main())
