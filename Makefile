# Two commands: `make up` starts examples/discovery, `make test` proves everything.
