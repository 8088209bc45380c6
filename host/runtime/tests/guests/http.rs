//! Guests that send requests: to where they may, and to where they must not.
//!
//! The network is the test's own: it says what a name resolves to, hears of every connection, and
//! makes none but to this machine. An address that stands for the internet leads to the test's
//! server.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bindery_core::Request;
use bindery_runtime::{
    CallGrants, GuestFailure, HttpConfig, HttpHosts, HttpLimits, HttpNetwork, LoadError,
    NetworkFuture, Plugin, Runtime, RuntimeConfig, TrapKind,
};
use serde_json::{Value, json};

use crate::common::{FILES, assert_unharmed, broke, bytes, config, kind, request, validate};

/// Stands for a server on the internet; nothing is ever sent there.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4));
const LIMITS: HttpLimits = HttpLimits {
    requests_at_once: 2,
    requests: 40,
    sent_bytes: 256 << 10,
    received_bytes: 1 << 20,
    answer_head_bytes: 16 << 10,
    connect: Duration::from_secs(2),
    silence: Duration::from_millis(500),
};

#[derive(Debug, Default)]
struct TestNetwork {
    /// What a name resolves to, the first time and then.
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    resolved: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
}

impl TestNetwork {
    fn name(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
    }
}

impl HttpNetwork for TestNetwork {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        self.resolved.lock().unwrap().push(name.to_owned());
        let found = match name.parse() {
            // As the system's resolver does with an address.
            Ok(address) => Some(vec![address]),
            Err(_) => self.names.lock().unwrap().get_mut(name).map(|answers| {
                if answers.len() > 1 {
                    answers.remove(0)
                } else {
                    answers[0].clone()
                }
            }),
        };
        let found = found.ok_or(io::ErrorKind::NotFound.into());
        Box::pin(std::future::ready(found.map(|addresses| {
            addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, port))
                .collect()
        })))
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, tokio::net::TcpStream> {
        self.connected.lock().unwrap().push(address);
        Box::pin(async move {
            if address.ip() != PUBLIC && !address.ip().is_loopback() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await
        })
    }
}

/// A server on this machine; one for all tests, and for as long as they run.
static PORT: LazyLock<u16> = LazyLock::new(|| {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up is no fault of the server's.
            std::thread::spawn(move || serve(stream));
        }
    });
    port
});

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let first = head.first().cloned().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (path, query) = path.split_once("?to=").unwrap_or((path, ""));
    let answer = |status: &str, fields: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}")
    };
    let text = match path {
        "/hello" => answer("200 OK", "", "hello"),
        "/head" => answer("200 OK", "", &head.join("\n")),
        "/redirect" => answer("302 Found", &format!("location: {query}\r\n"), ""),
        "/fields" => {
            let fields: String = (0..1000)
                .map(|n| format!("x-{n}: {}\r\n", "y".repeat(100)))
                .collect();
            answer("200 OK", &fields, "")
        }
        "/big" => answer("200 OK", "", &"z".repeat(3 << 20)),
        "/silent" => {
            // Until the client hangs up.
            reader.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        "/count" => {
            let mut bytes = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                // The piece and the end of its line.
                io::copy(&mut (&mut reader).take(length + 2), &mut io::sink())?;
                if length == 0 {
                    break;
                }
                bytes += length;
            }
            answer("200 OK", "", &bytes.to_string())
        }
        _ => answer("404 Not Found", "", ""),
    };
    stream.write_all(text.as_bytes())
}

fn hosts(names: &[String]) -> HttpHosts {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn here(name: &str) -> String {
    format!("{name}:{}", *PORT)
}

/// A runtime with this network, where `private` may have addresses of this machine.
async fn load(name: &str, network: &Arc<TestNetwork>, private: &[String]) -> Arc<Plugin> {
    let config = RuntimeConfig {
        http: HttpConfig {
            private_hosts: hosts(private),
            network: Some(Arc::clone(network) as Arc<dyn HttpNetwork>),
            limits: LIMITS,
        },
        ..config()
    };
    let runtime = Runtime::new(&config).unwrap().lending_http(true);
    runtime.load(bytes(name)).await.unwrap()
}

fn granted(names: &[String]) -> CallGrants {
    CallGrants {
        hosts: hosts(names),
        ..CallGrants::default()
    }
}

async fn compute(
    plugin: &Plugin,
    request: &Request,
    names: &[String],
) -> Result<(Value, u64, u64), GuestFailure> {
    let (items, receipt, _) = plugin
        .compute(request, granted(names), FILES, Box::new(|_, _| {}))
        .await?;
    let output = items[0].verdict.as_ref().unwrap().output.clone();
    Ok((output, receipt.bytes_in, receipt.bytes_out))
}

#[tokio::test]
pub(crate) async fn good_http() {
    let network = Arc::new(TestNetwork::default());
    network.name("near.test", &[&[Ipv4Addr::LOCALHOST.into()]]);
    network.name("far.test", &[&[PUBLIC]]);
    let names = ["near.test", "far.test", "unknown.test"].map(here);
    let plugin = load("good_http", &network, &[here("near.test")]).await;
    let ask = async |url: String| {
        compute(&plugin, &request(json!({ "url": url })), &names)
            .await
            .unwrap()
    };

    let (answer, bytes_in, bytes_out) = ask(format!("http://{}/hello", names[0])).await;
    assert_eq!(
        (&answer["status"], &answer["text"]),
        (&json!(200), &json!("hello"))
    );
    assert_eq!((bytes_in, bytes_out), (5, 0));
    let (answer, ..) = ask(format!("http://{}/head", names[1])).await;
    let head = answer["text"].as_str().unwrap();
    assert!(head.starts_with("GET /head HTTP/1.1\n"), "{head}");
    assert!(head.contains(&format!("host: {}", names[1])), "{head}");
    let (answer, ..) = ask(format!("http://{}/redirect?to=/hello", names[1])).await;
    assert_eq!(
        (&answer["status"], &answer["location"]),
        (&json!(302), &json!("/hello"))
    );

    let url = format!("http://{}/count", names[0]);
    let post = request(json!({ "url": url, "send_bytes": 10_000 }));
    let (answer, _, bytes_out) = compute(&plugin, &post, &names).await.unwrap();
    assert_eq!((&answer["text"], bytes_out), (&json!("10000"), 10_000));
    let post = request(json!({ "url": url, "send_bytes": 1 << 20 }));
    let (answer, ..) = compute(&plugin, &post, &names).await.unwrap();
    let error = answer["error"].to_string();
    assert!(error.contains("HttpRequestBodySize"), "{error}");

    for (url, code) in [
        (
            format!("http://{}/big", names[0]),
            "HTTP response body size",
        ),
        (format!("http://{}/silent", names[0]), "HttpResponseTimeout"),
        (format!("http://{}/", names[2]), "DnsError"),
        // A server that speaks no TLS.
        (format!("https://{}/", names[0]), "TlsProtocolError"),
        ("https://other.test/".to_owned(), "HttpRequestDenied"),
        // The name at another port.
        ("http://near.test/".to_owned(), "HttpRequestDenied"),
        (format!("http://a@{}/", names[0]), "HttpRequestUriInvalid"),
    ] {
        let (answer, ..) = ask(url.clone()).await;
        let error = answer["error"].to_string();
        assert!(error.contains(code), "{url}: {answer}");
    }
    assert_unharmed().await;
}

/// Only what computes reaches a host, and only where its package was granted one.
#[tokio::test]
async fn without_a_grant_there_is_no_way_out() {
    let network = Arc::new(TestNetwork::default());
    network.name("far.test", &[&[PUBLIC]]);
    let url = format!("http://{}/hello", here("far.test"));
    let plugin = load("good_http", &network, &[]).await;
    let asked = request(json!({ "url": url, "when": "validate" }));
    let validated = validate(&plugin, asked).await.unwrap();
    let error = validated.parameters["error"].to_string();
    assert!(error.contains("HttpRequestDenied"), "{error}");
    let (answer, ..) = compute(&plugin, &request(json!({ "url": url })), &[])
        .await
        .unwrap();
    assert!(
        answer["error"].to_string().contains("HttpRequestDenied"),
        "{answer}"
    );
    assert!(network.resolved.lock().unwrap().is_empty());
    assert!(network.connected.lock().unwrap().is_empty());
    match crate::common::try_load("good_http").await {
        Err(LoadError::ImportNotGranted(import)) => {
            assert!(import.starts_with("wasi:http/"), "{import}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn http_to_private() {
    let network = Arc::new(TestNetwork::default());
    let mut names = Vec::new();
    let mut cases = Vec::new();
    let mut case = |name: String, path: &str, expected: &str| {
        cases.push((format!("http://{name}/{path}"), expected.to_owned()));
        names.push(name);
    };
    const PROHIBITED: &str = "ErrorCode::DestinationIpProhibited";
    for (n, address) in [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.20.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.8",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.251",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:7f00:1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "2002:7f00:1::1",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("n{n}.test");
        network.name(&name, &[&[address.parse().unwrap()]]);
        case(here(&name), "hello", PROHIBITED);
    }
    // Of one name, one address is enough.
    network.name("both.test", &[&[PUBLIC, Ipv4Addr::LOCALHOST.into()]]);
    case(here("both.test"), "hello", PROHIBITED);
    // An operator's word opens this machine and its network, and never where credentials are.
    network.name(
        "metadata.test",
        &[&[Ipv4Addr::new(169, 254, 169, 254).into()]],
    );
    case(here("metadata.test"), "hello", PROHIBITED);
    // Addresses themselves, should a manifest ask for such a name.
    case(here("127.0.0.1"), "hello", PROHIBITED);
    case("169.254.169.254:80".to_owned(), "", PROHIBITED);
    network.name("2130706433", &[&[Ipv4Addr::LOCALHOST.into()]]);
    case(here("2130706433"), "hello", PROHIBITED);
    // A name that means another machine the next time: each request asks once, and goes where
    // that answer said.
    let twice: &[&[IpAddr]] = &[&[PUBLIC], &[Ipv4Addr::LOCALHOST.into()]];
    network.name("rebind.test", twice);
    case(here("rebind.test"), "hello", "200");
    case(here("rebind.test"), "hello", PROHIBITED);
    network.name("far.test", &[&[PUBLIC]]);
    let hop = |to: &str| format!("redirect?to=http://{to}/hello");
    case(
        here("far.test"),
        &hop(&here("127.0.0.1")),
        &format!("302 {PROHIBITED}"),
    );
    case(
        here("far.test"),
        &hop(&here("[::ffff:7f00:1]")),
        "302 ErrorCode::HttpRequestDenied",
    );
    case(
        here("far.test"),
        &hop(&here("elsewhere.test")),
        "302 ErrorCode::HttpRequestDenied",
    );

    let plugin = load("http_to_private", &network, &[here("metadata.test")]).await;
    let urls: Vec<&String> = cases.iter().map(|(url, _)| url).collect();
    let (answer, ..) = compute(&plugin, &request(json!({ "urls": urls })), &names)
        .await
        .unwrap();
    let heard = answer["heard"].as_array().unwrap();
    assert_eq!(heard.len(), cases.len());
    for (heard, (url, expected)) in heard.iter().zip(&cases) {
        assert_eq!(heard.as_str(), Some(expected.as_str()), "{url}");
    }
    let connected = network.connected.lock().unwrap().clone();
    assert_eq!(connected.len(), 4, "{connected:?}");
    assert!(
        connected.iter().all(|address| address.ip() == PUBLIC),
        "{connected:?}"
    );
    let resolved = network.resolved.lock().unwrap().clone();
    let times = resolved.iter().filter(|name| *name == "rebind.test");
    assert_eq!(times.count(), 2);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn http_header_flood() {
    let network = Arc::new(TestNetwork::default());
    network.name("far.test", &[&[PUBLIC]]);
    let names = [here("far.test")];
    let plugin = load("http_header_flood", &network, &[]).await;
    for (variant, word) in [
        ("one_long", "size"),
        ("many", "size"),
        ("many_sets", "table"),
    ] {
        let outcome = compute(&plugin, &kind(variant), &names).await;
        let broke = broke(outcome, TrapKind::Trap, "compute");
        assert!(broke.message.contains(word), "{variant}: {}", broke.message);
    }
    let url = format!("http://{}/fields", names[0]);
    let asked = request(json!({ "kind": "answer", "url": url }));
    let (answer, ..) = compute(&plugin, &asked, &names).await.unwrap();
    let heard = answer["heard"].to_string();
    assert!(heard.contains("HttpResponseHeaderSectionSize"), "{heard}");
    compute(&plugin, &kind("none"), &names).await.unwrap();
    assert_unharmed().await;
}
