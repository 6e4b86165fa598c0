//! Every mistake has a message that names it, shows it and says what to do.

use expect_test::expect;
use manifest::{TEXT_BYTES_MAX, parse};

use super::{DISCOVERY, problems, problems_of};

/// The problems of bytes.
fn render(bytes: &[u8]) -> String {
    let problems = parse(bytes).err().unwrap_or_default();
    problems.render("plimsoll.yaml", &String::from_utf8_lossy(bytes), false)
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    expect![[r#"
        error[unknown_key]: `prot` is not a key of a service
         --> plimsoll.yaml:4:9
          |
        4 |   api: {prot: 8080, run: x, volumes: [a]}
          |         ^^^^ unknown key
          |
          = help: did you mean `port`?

        error[unknown_key]: `volumes` is not a key of a service
         --> plimsoll.yaml:4:29
          |
        4 |   api: {prot: 8080, run: x, volumes: [a]}
          |                             ^^^^^^^ unknown key
          |
          = help: known: `path`, `from`, `language`, `package_manager`, `system`, `build`, `run`, `port`, `uses`, `env`, `secrets`, `migrate`, `seed`, `test`, `lint`, `verbs`, `smoke`, `route`, `scale`, `slo`, `limits`, `security`, `stop`, `drain`, `restart`, `gpu`, `health`, `heartbeat`, `metrics`, `watch`, `schedule`, `once`, `static`, `owners`

    "#]].assert_eq(&problems_of("services:\n  api: {prot: 8080, run: x, volumes: [a]}\n"));
}

#[test]
fn an_unknown_key_at_the_top_is_named() {
    expect![[r#"
        error[unknown_key]: `service` is not a key of the manifest
         --> plimsoll.yaml:3:1
          |
        3 | service: {api: {port: 80}}
          | ^^^^^^^ unknown key
          |
          = help: did you mean `services`?

    "#]]
    .assert_eq(&problems_of("service: {api: {port: 80}}\nservices: {api: {port: 80}}\n"));
}

#[test]
fn keys_that_start_with_x_are_ignored() {
    expect![[""]]
        .assert_eq(&problems_of("x-any: [1, {a: b}]\nservices: {api: {port: 80, x-y: 1}}\n"));
}

#[test]
fn a_duplicate_key_shows_both_places() {
    expect![[r#"
        error[duplicate_key]: the key `port` appears twice
         --> plimsoll.yaml:7:5
          |
        5 |     port: 80
          |     ---- first here
        6 |     run: x
        7 |     port: 81
          |     ^^^^ again here
          |
          = help: keep one of them

    "#]]
    .assert_eq(&problems_of("services:\n  api:\n    port: 80\n    run: x\n    port: 81\n"));
}

#[test]
fn a_cycle_in_uses_is_shown_as_a_circle() {
    expect![[r#"
        error[cycle]: `a` -> `b` -> `c` -> `a` use each other in a circle
         --> plimsoll.yaml:4:14
          |
        4 |   a: {uses: [b]}
          |              ^ `a` uses `b`
        5 |   b: {uses: [c]}
          |              - `b` uses `c`
        6 |   c: {uses: [a, d]}
          |              - `c` uses `a`
          |
          = help: take one out of `uses`; an address alone can be read by `${services.<name>.public_url}`

    "#]].assert_eq(&problems_of("services:\n  a: {uses: [b]}\n  b: {uses: [c]}\n  c: {uses: [a, d]}\n  d: {run: d}\n  e: {uses: [a]}\n"));
}

#[test]
fn a_service_that_uses_itself_is_a_cycle() {
    expect![[r#"
        error[cycle]: `a` -> `a` use each other in a circle
         --> plimsoll.yaml:4:14
          |
        4 |   a: {uses: [a]}
          |              ^ `a` uses `a`
          |
          = help: take one out of `uses`; an address alone can be read by `${services.<name>.public_url}`

    "#]].assert_eq(&problems_of("services:\n  a: {uses: [a]}\n"));
}

#[test]
fn two_services_on_one_port_are_both_shown() {
    expect![[r#"
        error[port_taken]: service `web` uses port 8080, already taken by `api`
         --> plimsoll.yaml:5:15
          |
        4 |   api: {port: 8080}
          |               ---- taken here
        5 |   web: {port: 8080}
          |               ^^^^
          |
          = help: give one of them another port

    "#]]
    .assert_eq(&problems_of("services:\n  api: {port: 8080}\n  web: {port: 8080}\n"));
}

#[test]
fn two_services_on_one_route_are_both_shown() {
    expect![[r#"
        error[route_taken]: service `web` has route `localhost`, already taken by `api`
         --> plimsoll.yaml:5:16
          |
        4 |   api: {route: ["@", "@/api"]}
          |                 --- taken here
        5 |   web: {route: "@"}
          |                ^^^
          |
          = help: give one of them another host or a longer path

    "#]]
    .assert_eq(&problems_of(
        "services:\n  api: {route: [\"@\", \"@/api\"]}\n  web: {route: \"@\"}\n",
    ));
}

#[test]
fn from_a_service_that_does_not_exist() {
    expect![[r#"
        error[unknown_service]: there is no service `backnd`
         --> plimsoll.yaml:5:18
          |
        5 |   worker: {from: backnd}
          |                  ^^^^^^
          |
          = help: did you mean `backend`?

    "#]]
    .assert_eq(&problems_of("services:\n  backend: {port: 80}\n  worker: {from: backnd}\n"));
}

#[test]
fn from_a_service_that_is_itself_from() {
    expect![[r#"
        error[from_chain]: service `c` is `from` `b`, which is itself `from` `a`
         --> plimsoll.yaml:6:13
          |
        5 |   b: {from: a}
          |             - this one is `from` another already
        6 |   c: {from: b}
          |             ^
          |
          = help: write `from: a`

    "#]]
    .assert_eq(&problems_of("services:\n  a: {port: 80}\n  b: {from: a}\n  c: {from: b}\n"));
}

#[test]
fn an_overlay_of_an_unknown_service_or_resource() {
    expect![[r#"
        error[unknown_service]: environment `p` changes service `apii`, which does not exist
         --> plimsoll.yaml:7:16
          |
        7 |     services: {apii: {port: 81}}
          |                ^^^^
          |
          = help: did you mean `api`?

        error[unknown_resource]: environment `p` changes resource `db`, which does not exist
         --> plimsoll.yaml:8:17
          |
        8 |     resources: {db: {via: docker}}
          |                 ^^
          |
          = help: there are none

    "#]].assert_eq(&problems(
        "plimsoll: 1\napp: a\nservices: {api: {port: 80}}\nenvironments:\n  p:\n    target: local\n    services: {apii: {port: 81}}\n    resources: {db: {via: docker}}\n",
        "p",
    ));
}

#[test]
fn an_unknown_environment_is_named() {
    expect![[r#"
        error[unknown_environment]: there is no environment `prod`
         |
         = help: known: `dev`, `staging`, `production`

    "#]]
    .assert_eq(&problems(DISCOVERY, "prod"));
}

#[test]
fn unknown_placeholders_are_each_pointed_at() {
    expect![[r#"
        error[unknown_placeholder]: there is no resource `bd`
         --> plimsoll.yaml:8:11
          |
        8 |       A: x${resources.bd.url}
          |           ^^^^^^^^^^^^^^^^^^^
          |
          = help: did you mean `db`?

        error[unknown_placeholder]: resource `db` has no `hots`
         --> plimsoll.yaml:9:10
          |
        9 |       B: ${resources.db.hots} ${env.domian}
          |          ^^^^^^^^^^^^^^^^^^^^
          |
          = help: did you mean `host`?

        error[unknown_placeholder]: `${env.domian}` names nothing
         --> plimsoll.yaml:9:31
          |
        9 |       B: ${resources.db.hots} ${env.domian}
          |                               ^^^^^^^^^^^^^
          |
          = help: did you mean `domain`?

        error[unknown_placeholder]: there is no service `apo`
          --> plimsoll.yaml:10:10
           |
        10 |       C: ${services.apo.url}
           |          ^^^^^^^^^^^^^^^^^^^
           |
           = help: did you mean `api`?

        error[unknown_placeholder]: the placeholder `${PORT}` names nothing
          --> plimsoll.yaml:11:10
           |
        11 |       D: ${PORT}
           |          ^^^^^^^
           |
           = help: environment variables are the shell's: write `{shell: …}`, or `$$` for a `$`

        error[malformed_placeholder]: the placeholder `${open` has no end
          --> plimsoll.yaml:12:11
           |
        12 |       E: a${open
           |           ^^^^^^
           |
           = help: close it with `}`, or write `$$` for a `$`

    "#]].assert_eq(&problems_of("services:\n  api:\n    port: 80\n    uses: [db]\n    env:\n      A: x${resources.bd.url}\n      B: ${resources.db.hots} ${env.domian}\n      C: ${services.apo.url}\n      D: ${PORT}\n      E: a${open\nresources: {db: {type: postgres}}\n"));
}

#[test]
fn an_address_of_something_not_in_uses() {
    expect![[r#"
        error[undeclared_use]: service `api` reads an address of `db` without using it
         --> plimsoll.yaml:4:29
          |
        4 |   api: {port: 80, env: {A: "${resources.db.url}"}}
          |                             ^^^^^^^^^^^^^^^^^^^
          |
          = help: add `db` to `services.api.uses`

    "#]].assert_eq(&problems_of("services:\n  api: {port: 80, env: {A: \"${resources.db.url}\"}}\nresources: {db: {type: postgres}}\n"));
}

#[test]
fn tabs_are_named() {
    expect![[r#"
        error[yaml_syntax]: a tab indents this line
         --> plimsoll.yaml:4:2
          |
        4 |     api: {}
          |     ^
          |
          = help: indent with spaces

    "#]]
    .assert_eq(&problems("plimsoll: 1\napp: a\nservices:\n\tapi: {}\n", "local"));
}

#[test]
fn invalid_utf8_is_named() {
    expect![[r#"
        error[not_utf8]: the manifest is not UTF-8 from byte 17 on
         |
         = help: save the file as UTF-8

    "#]]
    .assert_eq(&render(b"plimsoll: 1\napp: \xff\n"));
}

#[test]
fn an_empty_file_says_how_to_begin() {
    expect![[r#"
        error[empty]: the manifest is empty
         |
         = help: begin with `plimsoll: 1`, `app: <name>` and `services:`

    "#]]
    .assert_eq(&problems("", "local"));
}

#[test]
fn a_file_of_comments_is_empty() {
    expect![[r#"
        error[empty]: the manifest is empty
         |
         = help: begin with `plimsoll: 1`, `app: <name>` and `services:`

    "#]]
    .assert_eq(&problems("# nothing\n", "local"));
}

#[test]
fn a_wrong_version_is_the_only_problem() {
    expect![[r#"
        error[wrong_version]: the manifest has version `2`
         --> plimsoll.yaml:1:11
          |
        1 | plimsoll: 2
          |           ^
          |
          = help: this program reads `plimsoll: 1`

    "#]]
    .assert_eq(&problems("plimsoll: 2\nfoo: bar\n", "local"));
}

#[test]
fn no_version_no_app_no_services() {
    expect![[r#"
        error[missing_key]: the manifest does not say `plimsoll: 1`
         --> plimsoll.yaml:1:1
          |
        1 | x-a: 1
          | ^
          |
          = help: write `plimsoll: 1` as the first line

        error[missing_key]: the manifest has no `app`
         --> plimsoll.yaml:1:1
          |
        1 | x-a: 1
          | ^
          |
          = help: name the platform: `app: shop`

        error[missing_key]: the manifest has no `services`
         --> plimsoll.yaml:1:1
          |
        1 | x-a: 1
          | ^
          |
          = help: name at least one: `services: {api: {run: …, port: 8080}}`

    "#]]
    .assert_eq(&problems("x-a: 1\n", "local"));
}

#[test]
fn several_documents_are_refused() {
    expect![[r#"
        error[several_documents]: the file holds more than one document
         --> plimsoll.yaml:5:1
          |
        5 | b: 1
          | ^
          |
          = help: a manifest is one document; remove everything from the second `---` on

    "#]]
    .assert_eq(&problems("plimsoll: 1\napp: a\nservices: {a: {port: 1}}\n---\nb: 1\n", "local"));
}

#[test]
fn a_list_is_not_a_manifest() {
    expect![[r#"
        error[wrong_shape]: expected the manifest, found a list
         --> plimsoll.yaml:1:1
          |
        1 | - a
          | ^^^
          |
          = help: write keys and values: `{key: value}`

    "#]]
    .assert_eq(&problems("- a\n- b\n", "local"));
}

#[test]
fn values_of_the_wrong_type_are_all_told() {
    expect![[r#"
        error[invalid_value]: `Api` is not a service name
         --> plimsoll.yaml:4:3
          |
        4 |   Api: {port: 0}
          |   ^^^
          |
          = help: start with a letter; use lower-case letters, digits, `-`, `_`; at most 40

        error[invalid_value]: `0` is not a port
         --> plimsoll.yaml:4:15
          |
        4 |   Api: {port: 0}
          |               ^
          |
          = help: write a number from 1 to 65535: `8080`

        error[invalid_value]: `130` is not a percentage
         --> plimsoll.yaml:5:20
          |
        5 |   b: {scale: {cpu: 130, min: -1}, stop: 20, once: yes, restart: allways}
          |                    ^^^
          |
          = help: write percent, 0 to 100, with at most four decimals: `99.9`, `70%`

        error[invalid_value]: `-1` is not a whole number
         --> plimsoll.yaml:5:30
          |
        5 |   b: {scale: {cpu: 130, min: -1}, stop: 20, once: yes, restart: allways}
          |                              ^^
          |
          = help: write digits only: `3`

        error[invalid_value]: `20` is not a duration
         --> plimsoll.yaml:5:41
          |
        5 |   b: {scale: {cpu: 130, min: -1}, stop: 20, once: yes, restart: allways}
          |                                         ^^
          |
          = help: write a number with a unit: `300ms`, `20s`, `15m`, `1h30m`, `7d`

        error[invalid_value]: `yes` is not `true` or `false`
         --> plimsoll.yaml:5:51
          |
        5 |   b: {scale: {cpu: 130, min: -1}, stop: 20, once: yes, restart: allways}
          |                                                   ^^^
          |
          = help: write `true` or `false`

        error[invalid_value]: `allways` is not a restart policy
         --> plimsoll.yaml:5:65
          |
        5 |   b: {scale: {cpu: 130, min: -1}, stop: 20, once: yes, restart: allways}
          |                                                                 ^^^^^^^
          |
          = help: did you mean `always`?

        error[invalid_value]: `1 GB` is not a size
         --> plimsoll.yaml:6:24
          |
        6 |   c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}
          |                        ^^^^
          |
          = help: write a number with a unit: `512Mi`, `2Gi`, `10GB`

        error[invalid_value]: `every day` is not a schedule
         --> plimsoll.yaml:6:41
          |
        6 |   c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}
          |                                         ^^^^^^^^^
          |
          = help: write five fields, minute hour day month weekday, in numbers: `0 3 * * 1`

        error[invalid_value]: `../x` is not a path
         --> plimsoll.yaml:6:58
          |
        6 |   c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}
          |                                                          ^^^^
          |
          = help: write a path below the manifest's directory, with `/`: `backend/src`

        error[wrong_shape]: expected a list, found a text
         --> plimsoll.yaml:6:70
          |
        6 |   c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}
          |                                                                      ^^
          |
          = help: put it in brackets: `[a, b]`

        error[invalid_value]: `ready` is not a URL path
         --> plimsoll.yaml:6:82
          |
        6 |   c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}
          |                                                                                  ^^^^^
          |
          = help: start with `/`, without `?` or `#`: `/ready`

        error[invalid_value]: `2000` is not an HTTP status
         --> plimsoll.yaml:6:89
          |
        6 |   c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}
          |                                                                                         ^^^^
          |
          = help: write 100 to 599: `200`

    "#]].assert_eq(&problems_of("services:\n  Api: {port: 0}\n  b: {scale: {cpu: 130, min: -1}, stop: 20, once: yes, restart: allways}\n  c: {limits: {memory: 1 GB}, schedule: every day, path: ../x, uses: db, smoke: {ready: 2000}}\n"));
}

#[test]
fn a_command_that_needs_a_shell_says_how_to_get_one() {
    expect![[r#"
        error[invalid_value]: `&` is the shell's, and there is none
         --> plimsoll.yaml:4:12
          |
        4 |   a: {run: "a && b"}
          |            ^^^^^^^^
          |
          = help: write `{shell: …}` with the same line to get one, or set variables in `env`

        error[invalid_value]: a `'` in this command has no end
         --> plimsoll.yaml:5:12
          |
        5 |   b: {run: "a 'b"}
          |            ^^^^^^
          |
          = help: close the quote

        error[invalid_value]: `$PORT` is the shell's, and there is none
         --> plimsoll.yaml:6:12
          |
        6 |   c: {run: "serve --port $PORT"}
          |            ^^^^^^^^^^^^^^^^^^^^
          |
          = help: write `{shell: …}` with the same line to get one, or set variables in `env`

    "#]].assert_eq(&problems_of("services:\n  a: {run: \"a && b\"}\n  b: {run: \"a \'b\"}\n  c: {run: \"serve --port $PORT\"}\n  d: {build: {shell: \"a && b\"}}\n"));
}

#[test]
fn shapes_that_do_not_fit() {
    expect![[r#"
        error[invalid_value]: the command is empty
         --> plimsoll.yaml:4:12
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |            ^^
          |
          = help: name a program

        error[wrong_shape]: expected a map, found a list
         --> plimsoll.yaml:4:21
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                     ^^^^^^
          |
          = help: write keys and values: `{key: value}`

        error[wrong_shape]: expected a list, found a text
         --> plimsoll.yaml:4:35
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                                   ^^
          |
          = help: put it in brackets: `[a, b]`

        error[wrong_shape]: expected a port, found a list
         --> plimsoll.yaml:4:45
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                                             ^^^
          |
          = help: write a single value

        error[unknown_key]: `up` is not a key of `migrate`
         --> plimsoll.yaml:4:60
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                                                            ^^ unknown key
          |
          = help: known: `run`, `shell`, `contract`, `down`, `check`, `timeout`, `lock_timeout`

        error[wrong_shape]: expected a command, found a map
         --> plimsoll.yaml:4:75
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                                                                           ^^^^^^^^^
          |
          = help: write a line, a list of words, or `{shell: …}`

        error[unknown_key]: `shel` is not a key of a script
         --> plimsoll.yaml:4:76
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                                                                            ^^^^ unknown key
          |
          = help: did you mean `shell`?

        error[wrong_shape]: expected a list, found a text
         --> plimsoll.yaml:4:94
          |
        4 |   a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
          |                                                                                              ^^^
          |
          = help: put it in brackets: `[a, b]`

        error[wrong_shape]: expected a service, found a text
         --> plimsoll.yaml:5:6
          |
        5 |   b: x
          |      ^
          |
          = help: write keys and values: `{key: value}`

        error[wrong_shape]: expected an entry of `uses`, found a map
         --> plimsoll.yaml:6:14
          |
        6 |   c: {uses: [{a: b, c: d}, [x]]}
          |              ^^^^^^^^^^^^
          |
          = help: write one name per entry: `- db: {as: NAME}`

        error[wrong_shape]: expected the name of a resource or service, found a list
         --> plimsoll.yaml:6:28
          |
        6 |   c: {uses: [{a: b, c: d}, [x]]}
          |                            ^^^
          |
          = help: write `[db, cache]`

    "#]].assert_eq(&problems_of(
        "services:
  a: {run: [], env: [A, B], uses: db, port: [1], migrate: {up: x}, build: {shel: x}, system: gcc}
  b: x
  c: {uses: [{a: b, c: d}, [x]]}
",
    ));
}

#[test]
fn words_that_are_not_known_are_suggested() {
    expect![[r#"
        error[invalid_value]: `allways` is not a restart policy
         --> plimsoll.yaml:3:25
          |
        3 | services: {a: {restart: allways, stop: {signal: KILL}}}
          |                         ^^^^^^^
          |
          = help: did you mean `always`?

        error[invalid_value]: `KILL` is not a signal
         --> plimsoll.yaml:3:49
          |
        3 | services: {a: {restart: allways, stop: {signal: KILL}}}
          |                                                 ^^^^
          |
          = help: known: `TERM`, `INT`, `QUIT`, `HUP`, `USR1`, `USR2`, `WINCH`

        error[invalid_value]: `rdeis` is not a resource type
         --> plimsoll.yaml:4:23
          |
        4 | resources: {q: {type: rdeis}}
          |                       ^^^^^
          |
          = help: did you mean `redis`?

        error[invalid_value]: `k8s` is not a target
         --> plimsoll.yaml:5:28
          |
        5 | environments: {p: {target: k8s}}
          |                            ^^^
          |
          = help: known: `local`, `host`, `kubernetes`, `ecs`, `cloud-run`

    "#]]
    .assert_eq(&problems_of(
        "services: {a: {restart: allways, stop: {signal: KILL}}}
resources: {q: {type: rdeis}}
environments: {p: {target: k8s}}
",
    ));
}

#[test]
fn a_service_with_nothing_behind_it_is_not_overlooked() {
    expect![[r#"
        error[wrong_shape]: service `worker` is empty
         --> plimsoll.yaml:5:3
          |
        5 |   worker:
          |   ^^^^^^
          |
          = help: write its keys below it, or `{}` for none

        error[wrong_shape]: resource `db` is empty
         --> plimsoll.yaml:6:13
          |
        6 | resources: {db: ~}
          |             ^^
          |
          = help: write its keys below it, or `{}` for none

    "#]]
    .assert_eq(&problems_of(
        "services:
  api: {port: 80}
  worker:
resources: {db: ~}
",
    ));
}

#[test]
fn keys_that_contradict_the_kind() {
    expect![[r#"
        error[conflict]: `port` does not go with a cron: it has `schedule`
         --> plimsoll.yaml:4:36
          |
        4 |   a: {schedule: "0 3 * * *", port: 80}
          |                                    ^^
          |
          = help: take `port` out, or make it a service of its own

        error[conflict]: `run` does not go with a site: it has `static`
         --> plimsoll.yaml:5:26
          |
        5 |   b: {static: dist, run: x}
          |                          ^
          |
          = help: take `run` out, or make it a service of its own

        error[conflict]: `smoke` does not go with a worker: it has neither `port` nor `route`
         --> plimsoll.yaml:6:22
          |
        6 |   c: {run: x, smoke: {/: 200}}
          |                      ^^^^^^^^
          |
          = help: give `c` a `port`, or take `smoke` out

    "#]].assert_eq(&problems_of("services:\n  a: {schedule: \"0 3 * * *\", port: 80}\n  b: {static: dist, run: x}\n  c: {run: x, smoke: {/: 200}}\n"));
}

#[test]
fn keys_of_another_resource_type() {
    expect![[r#"
        error[not_applicable]: `topics` means nothing for resource `db`, which is a postgres
         --> plimsoll.yaml:4:42
          |
        4 | resources: {db: {type: postgres, topics: [a]}, x: {via: local}}
          |                                          ^^^
          |
          = help: a postgres knows: version, extensions, backup, url, image, size, replicas, multi_az, storage

        error[missing_key]: resource `x` has no `type`
         --> plimsoll.yaml:4:48
          |
        4 | resources: {db: {type: postgres, topics: [a]}, x: {via: local}}
          |                                                ^
          |
          = help: write one of postgres, redis, kafka, bucket, queue, http, volume, image

    "#]].assert_eq(&problems_of("services: {a: {uses: [db]}}\nresources: {db: {type: postgres, topics: [a]}, x: {via: local}}\n"));
}

#[test]
fn a_provider_that_does_not_fit() {
    expect![[r#"
        error[conflict]: resource `db` is `via: local`, which environment `p` (kubernetes) cannot have
         --> plimsoll.yaml:5:29
          |
        5 |   db: {type: postgres, via: local}
          |                             ^^^^^
          |
          = help: write `environments.p.resources.db: {via: cloudnative-pg}`

        error[missing_key]: nobody provides a bucket by default in environment `p`
         --> plimsoll.yaml:6:6
          |
        6 |   s: {type: bucket}
          |      ^
          |
          = help: write `environments.p.resources.s.via`: one of local, docker, url, aws-s3, gcp-gcs, hetzner-object-storage

        error[invalid_value]: `aws-rds` does not provide a redis
         --> plimsoll.yaml:7:25
          |
        7 |   c: {type: redis, via: aws-rds}
          |                         ^^^^^^^
          |
          = help: known: `local`, `docker`, `url`, `kubernetes`, `aws-elasticache`, `gcp-memorystore`

    "#]].assert_eq(&problems(
        "plimsoll: 1\napp: a\nservices: {a: {port: 80}}\nresources:\n  db: {type: postgres, via: local}\n  s: {type: bucket}\n  c: {type: redis, via: aws-rds}\nenvironments:\n  p: {target: kubernetes}\n",
        "p",
    ));
}

#[test]
fn an_environment_without_what_its_target_needs() {
    expect![[r#"
        error[missing_key]: environment `p` has no `domain` for this route
         --> plimsoll.yaml:3:23
          |
        3 | services: {a: {route: api}}
          |                       ^^^
          |
          = help: add `domain: shop.example` to `environments.p`

        error[missing_key]: environment `p` has no `hosts`
         --> plimsoll.yaml:5:6
          |
        5 |   p: {target: host, cloud: {region: x}}
          |      ^
          |
          = help: name at least one: `hosts: [web-1]`

        error[missing_key]: `cloud` has no `provider`
         --> plimsoll.yaml:5:28
          |
        5 |   p: {target: host, cloud: {region: x}}
          |                            ^
          |
          = help: write `cloud: {provider: aws, region: eu-west-1}`

    "#]].assert_eq(&problems(
        "plimsoll: 1\napp: a\nservices: {a: {route: api}}\nenvironments:\n  p: {target: host, cloud: {region: x}}\n",
        "p",
    ));
}

#[test]
fn promises_that_cannot_be_kept() {
    expect![[r#"
        error[invalid_value]: an objective of 100% cannot be kept or measured
         --> plimsoll.yaml:4:37
          |
        4 |   a: {port: 80, slo: {availability: 100, window: 3d, latency: {p95: 1s, p99: 2s}, custom: {x: {objective: 99, good: a}}}}
          |                                     ^^^
          |
          = help: write more than 0 and less than 100: `99.9`

        error[invalid_value]: there are no alert thresholds for a window of 3d
         --> plimsoll.yaml:4:50
          |
        4 |   a: {port: 80, slo: {availability: 100, window: 3d, latency: {p95: 1s, p99: 2s}, custom: {x: {objective: 99, good: a}}}}
          |                                                  ^^
          |
          = help: write 7d, 14d, 28d, 30d or 90d

        error[missing_key]: `latency` needs exactly one percentile
         --> plimsoll.yaml:4:63
          |
        4 |   a: {port: 80, slo: {availability: 100, window: 3d, latency: {p95: 1s, p99: 2s}, custom: {x: {objective: 99, good: a}}}}
          |                                                               ^
          |
          = help: write one of p50, p90, p95, p99: `latency: {p95: 300ms}`

        error[missing_key]: an objective needs `total`, and either `good` or `bad`
         --> plimsoll.yaml:4:92
          |
        4 |   a: {port: 80, slo: {availability: 100, window: 3d, latency: {p95: 1s, p99: 2s}, custom: {x: {objective: 99, good: a}}}}
          |                                                                                            ^
          |
          = help: write Prometheus selectors, not queries

    "#]].assert_eq(&problems_of("services:\n  a: {port: 80, slo: {availability: 100, window: 3d, latency: {p95: 1s, p99: 2s}, custom: {x: {objective: 99, good: a}}}}\n"));
}

#[test]
fn names_that_are_the_same_in_the_network() {
    expect![[r#"
        error[name_taken]: `a-b` and `a_b` are the same name in the network
         --> plimsoll.yaml:5:3
          |
        4 |   a_b: {run: x}
          |   --- first here
        5 |   a-b: {run: x}
          |   ^^^ again here
          |
          = help: rename one of them

        error[name_taken]: `a-b` and `a_b` are the same name in the network
         --> plimsoll.yaml:6:13
          |
        4 |   a_b: {run: x}
          |   --- first here
        5 |   a-b: {run: x}
        6 | resources: {a-b: {type: redis}}
          |             ^^^ again here
          |
          = help: rename one of them

    "#]]
    .assert_eq(&problems_of(
        "services:\n  a_b: {run: x}\n  a-b: {run: x}\nresources: {a-b: {type: redis}}\n",
    ));
}

#[test]
fn two_variables_of_one_name() {
    expect![[r#"
        error[variable_taken]: two entries of `uses` bring the variable `A_URL`
         --> plimsoll.yaml:4:24
          |
        4 |   a: {uses: [x: A_URL, y: A_URL], secrets: [B], env: {B: 1}}
          |              --------  ^^^^^^^^
          |              |
          |              first here
          |
          = help: rename one of them: `- <name>: {as: OTHER_URL}`

        error[variable_taken]: `B` is in `secrets`, and set from `env` or `uses` as well
         --> plimsoll.yaml:4:45
          |
        4 |   a: {uses: [x: A_URL, y: A_URL], secrets: [B], env: {B: 1}}
          |                                             ^
          |
          = help: keep one of them

    "#]].assert_eq(&problems_of("services:\n  a: {uses: [x: A_URL, y: A_URL], secrets: [B], env: {B: 1}}\nresources: {x: {type: redis}, y: {type: redis}}\n"));
}

#[test]
fn a_used_thing_that_does_not_exist_or_is_used_twice() {
    expect![[r#"
        error[unknown_resource]: there is no resource or service `cahce`
         --> plimsoll.yaml:4:14
          |
        4 |   a: {uses: [cahce, cache, cache]}
          |              ^^^^^
          |
          = help: did you mean `cache`?

        error[name_taken]: `cache` is used twice
         --> plimsoll.yaml:4:28
          |
        4 |   a: {uses: [cahce, cache, cache]}
          |                     -----  ^^^^^ again here
          |                     |
          |                     first here
          |
          = help: keep one of them

    "#]]
    .assert_eq(&problems_of(
        "services:\n  a: {uses: [cahce, cache, cache]}\nresources: {cache: {type: redis}}\n",
    ));
}

/// Texts that hold a credential where a name belongs, and the credential.
const LEAKS: [(&str, &str); 15] = [
    ("services: {a: {prot: 80, env: {DB_PASSWORD: hunter22}}}", "hunter22"),
    ("services: {a: {port: 80, env: [API_KEY=hunter22, B=1]}}", "hunter22"),
    ("services: {a: {prot: 80, env: {\"token\": \"hunter22\"}}}", "hunter22"),
    ("services: {a: {port: 80, secrets: [sk-abc123def456]}}", "sk-abc123def456"),
    ("services: {a: {port: 80, secrets: [KEY=hunter22]}}", "hunter22"),
    ("services: {a: {port: 80, secrets: hunter22}}", "hunter22"),
    ("services: {a: {port: 80, secrets: {KEY: hunter22}}}", "hunter22"),
    ("services:\n  a:\n    port: 80\n    secrets:\n      KEY: hunter22\n      B: 1", "hunter22"),
    ("services: {a: {port: 80, secrets: [{KEY: hunter22}]}}", "hunter22"),
    ("services: {a: {port: 80, env: {KEY: ghp_0123456789abcdef}}}", "ghp_0123456789abcdef"),
    ("services: {a: {port: ghp_0123456789abcdef}}", "ghp_0123456789abcdef"),
    ("services: {a: {prot: 80, env: {K: ghp_0123456789abcdef}}}", "ghp_0123456789abcdef"),
    ("services: {a: {port: 80, env: {K: \"${secret:sk-abc123def456}\"}}}", "sk-abc123def456"),
    ("services:\n  a: {port: 80}\ndb_password: hunter22", "hunter22"),
    (
        "services: {a: {port: 80}}\nresources: {db: {type: postgres, url: \"postgres://u:hunter22@h/d\"}}",
        "hunter22",
    ),
];

#[test]
fn a_secret_is_never_shown() {
    for (body, secret) in LEAKS {
        let shown = problems_of(body);
        assert!(!shown.is_empty(), "{body}");
        assert!(!shown.contains(secret), "{shown}");
        let text = format!("plimsoll: 1\napp: shop\n{body}");
        if let Err(problems) = parse(&text) {
            let json = serde_json::to_string(&problems).unwrap();
            assert!(!json.contains(secret), "{json}");
        }
    }
}

#[test]
fn a_secret_in_the_open_is_refused_where_others_run_and_told_where_only_we_do() {
    let body = "services: {a: {port: 80, env: {PASSWORD: hunter22, DB: \"pg://u:p4ss@h/d\"}}}\n";
    let remote = "environments: {production: {target: host, hosts: [one], domain: a.example}}\n";
    let text = format!("plimsoll: 1\napp: shop\n{body}{remote}");
    let remote = problems(&text, "production");
    assert_eq!(remote.matches("error[secret_literal]").count(), 2, "{remote}");
    assert!(remote.contains("`PASSWORD` holds a secret"), "{remote}");
    assert!(remote.contains("the URL in `DB` holds a password"), "{remote}");
    assert!(!remote.contains("hunter22") && !remote.contains("p4ss"), "{remote}");
    let local = problems(&text, "local");
    assert!(local.contains("warning[secret_literal]") && !local.contains("error["), "{local}");
    let kept = body.replace("hunter22", "'${secret:PASSWORD}'").replace("p4ss", "${secret:DB}");
    let kept = problems(&text.replace(body, &kept), "production");
    assert!(!kept.contains("secret_literal"), "{kept}");
}

#[test]
fn a_secret_literal_is_refused_without_showing_it() {
    expect![[r#"
        error[secret_literal]: this looks like a secret's value, where its name belongs
         --> plimsoll.yaml:3:36
          |
        3 | services: {a: {port: 80, secrets: [***************]}}
          |                                    ^^^^^^^^^^^^^^^
          |
          = help: write the name here, keep the value in a secret provider, and replace this value: it has been in a file

    "#]].assert_eq(&problems_of(LEAKS[3].0));
}

#[test]
fn a_file_above_the_size_limit_is_refused_unread() {
    expect![[r#"
        error[too_large]: the manifest has more than 1 MiB
         |
         = help: the limit is 1048576 bytes; move data out of the manifest

    "#]]
    .assert_eq(&render(&vec![b' '; TEXT_BYTES_MAX + 1]));
}

#[test]
fn ten_megabytes_of_nested_anchors_are_refused() {
    let text = "a: &a [x]\n".repeat(1_100_000);
    assert!(render(text.as_bytes()).contains("too_large"));
}

/// Anchors that double `levels` times.
fn billion_laughs(levels: usize) -> String {
    let mut text = String::from("plimsoll: 1\napp: a\nx-0: &x0 [lol, lol]\n");
    for level in 1..=levels {
        let below = level - 1;
        text.push_str(&format!("x-{level}: &x{level} [*x{below}, *x{below}]\n"));
    }
    text
}

#[test]
fn anchors_that_multiply_are_refused() {
    assert!(render(billion_laughs(30).as_bytes()).contains("too_complex"));
}

#[test]
fn anchors_below_the_size_limit_are_bounded() {
    let mut text = String::from("plimsoll: 1\napp: a\n");
    for n in 0..20_000 {
        text.push_str(&format!("x-{n}: &a{n} [1, 2, 3]\ny-{n}: *a{n}\n"));
    }
    assert!(render(text.as_bytes()).contains("too_complex"));
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}", "{a: ".repeat(100_000)),
        "- ".repeat(100_000),
        (0..1000).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
    ] {
        let shown = render(text.as_bytes());
        assert!(shown.contains("too_complex") || shown.contains("yaml_syntax"), "{shown:.300}");
    }
}

#[test]
fn more_problems_than_anybody_reads_are_counted() {
    let mut text = String::from("plimsoll: 1\napp: a\nservices: {a: {port: 1}}\n");
    (0..500).for_each(|n| text.push_str(&format!("k{n}: 1\n")));
    assert!(render(text.as_bytes()).ends_with("and 400 more problems\n"));
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_move_carets() {
    let text = "\u{feff}plimsoll: 1\r\napp: a\r\nservices: {a: {prot: 1}}\r\n";
    expect![[r#"
        error[unknown_key]: `prot` is not a key of a service
         --> plimsoll.yaml:3:16
          |
        3 | services: {a: {prot: 1}}
          |                ^^^^ unknown key
          |
          = help: did you mean `port`?

    "#]]
    .assert_eq(&problems(text, "local"));
}

#[test]
fn problems_are_data_for_tools() {
    let text = "plimsoll: 1\napp: a\nservices: {a: {prot: 1}}\n";
    let json = serde_json::to_string_pretty(&parse(text).unwrap_err()).unwrap();
    expect![[r#"
        {
          "list": [
            {
              "level": "error",
              "code": "unknown_key",
              "message": "`prot` is not a key of a service",
              "labels": [
                {
                  "span": {
                    "start": 34,
                    "end": 38
                  },
                  "line": 3,
                  "text": "unknown key"
                }
              ],
              "help": "did you mean `port`?"
            }
          ],
          "omitted": 0
        }"#]]
    .assert_eq(&json);
}

#[test]
fn an_address_of_what_has_none() {
    expect![[r#"
        error[not_applicable]: `b` has no address to put into `B_URL`
         --> plimsoll.yaml:4:14
          |
        4 |   a: {uses: [b: B_URL], env: {X: "${services.b.url}"}, run: x}
          |              ^^^^^^^^
          |
          = help: give `b` a `port`, or leave out `as`

        error[not_applicable]: service `b` has no `port`, and so no `url`
         --> plimsoll.yaml:4:35
          |
        4 |   a: {uses: [b: B_URL], env: {X: "${services.b.url}"}, run: x}
          |                                   ^^^^^^^^^^^^^^^^^
          |
          = help: give `services.b` a `port`

    "#]].assert_eq(&problems_of("services:\n  a: {uses: [b: B_URL], env: {X: \"${services.b.url}\"}, run: x}\n  b: {run: x}\n"));
}
