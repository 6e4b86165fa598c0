//! Claims about the local Redis, with a real one. Skipped, aloud, where none is installed.

use std::io::{Read, Write};
use std::net::TcpStream;

use fleet::driver::Driver;
use fleet::resource::{Place, provide};
use manifest::plan::{Redis, RedisVia, Resource, ResourceSpec};
use manifest::template::{Output, Template};

use crate::stage::{Stage, directory, has};

fn say(port: &str, words: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.write_all(format!("{words}QUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_cache_needs_its_password_and_keeps_its_data() {
    if !has("redis-server") && !has("valkey-server") {
        eprintln!("SKIPPED: no Redis server is installed here");
        return;
    }
    let data = directory();
    let spec = Redis { version: "7".into(), persistent: true, via: RedisVia::Local };
    let cache = Resource { name: "cache".parse().unwrap(), spec: ResourceSpec::Redis(spec) };
    let variable = |name: &str| std::env::var(name).ok();
    let fill = |template: &Template| Ok(template.to_string());
    let place = Place { app: "shop", data: data.path(), variable: &variable, fill: &fill };
    let it = provide(&cache, &place).unwrap();
    let port = it.outputs[&Output::Port].clone();
    let login = format!("AUTH {}\r\n", it.outputs[&Output::Password]);
    let mut stage = Stage::new(vec![("it", it.launch)], vec![]);
    stage.driver.start(0, 1);
    stage.ready().await;
    assert!(say(&port, "GET a\r\n").contains("NOAUTH"));
    assert!(say(&port, &format!("{login}SET a 7\r\n")).contains("+OK\r\n+OK"));
    stage.stop(1).await;
    stage.driver.start(0, 2);
    stage.ready().await;
    assert!(say(&port, &format!("{login}GET a\r\n")).contains("$1\r\n7"));
    stage.stop(2).await;
}
