#!/bin/sh
git rebase -q main && git -C /work/main merge --ff-only up 2>&1 | tail -1
