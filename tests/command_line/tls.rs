//! TLS as an operator meets it: what is said about bad files, what a first start prints, and SIGHUP.

use crate::shell::{Program, Shell, until};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

const FILES: [(&str, &str); 2] = [
    ("STREAMGATE_TLS_CERTIFICATE", "cert.pem"),
    ("STREAMGATE_TLS_KEY", "key.pem"),
];
const LISTEN: (&str, &str) = ("STREAMGATE_LISTEN", "127.0.0.1:0");

fn write(shell: &Shell, name: &str, text: &str) {
    fs::write(shell.folder().join(name), text).expect("a file can be written");
}

/// Writes a certificate that vouches for itself, and its key.
fn issue(shell: &Shell, subject: &str, last_year: i32) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
    let certificate = params.self_signed(&key).expect("a certificate");
    write(shell, "cert.pem", &certificate.pem());
    write(shell, "key.pem", &key.serialize_pem());
}

/// Starts a server behind TLS; returns also where it listens.
fn start(shell: &Shell) -> (Program, String) {
    let program = shell.start(&[LISTEN, FILES[0], FILES[1]], &[]);
    let announced = "listening on https://";
    let mut address = String::new();
    program.until_err(announced);
    until("the line is whole", || {
        let log = program.err();
        let line = log.split_once(announced).expect("it was waited for").1;
        address = line.split(' ').next().unwrap_or_default().to_owned();
        line.contains(' ')
    });
    (program, address)
}

/// What a client that trusts what `cert.pem` was hears: the certificate that it is shown, and an answer.
fn ask(shell: &Shell, address: &str, trusted: &str) -> std::io::Result<(Vec<u8>, String)> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(shell.folder().join(trusted)).expect("a certificate");
    roots.add(certificate).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(config, name).expect("a client");
    let mut socket = TcpStream::connect(address)?;
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let shown = session.peer_certificates().expect("certificates")[0].to_vec();
    Ok((shown, answer))
}

fn shown(shell: &Shell, address: &str, trusted: &str) -> String {
    let (shown, answer) = ask(shell, address, trusted).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn files_that_do_not_do_are_named_and_nothing_starts() {
    let shell = Shell::new();
    let ended = shell.run_with(&[LISTEN, FILES[0]], &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let wanted = "error: STREAMGATE_TLS_CERTIFICATE is \"cert.pem\": a file in PEM is wanted";
    assert!(ended.err.starts_with(wanted), "{ended:?}");
    issue(&shell, "the first", 4000);
    let ended = shell.run_with(&[LISTEN, FILES[0]], &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("belong together"), "{ended:?}");
    let url = ("STREAMGATE_PUBLIC_URL", "http://example.com");
    let ended = shell.run_with(&[LISTEN, FILES[0], FILES[1], url], &[]);
    assert!(
        ended.err.contains("STREAMGATE_PUBLIC_URL must be https://"),
        "{ended:?}"
    );
    let certificate = fs::read_to_string(shell.folder().join("cert.pem")).expect("a file");
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let stranger = KeyPair::generate().expect("a key").serialize_pem();
    for (file, text, said) in [
        (
            "key.pem",
            &*stranger,
            "STREAMGATE_TLS_KEY: the key in key.pem is not that of the certificate in cert.pem",
        ),
        (
            "key.pem",
            &certificate,
            "STREAMGATE_TLS_KEY: key.pem holds no private key in PEM",
        ),
        (
            "cert.pem",
            "hello",
            "STREAMGATE_TLS_CERTIFICATE: cert.pem holds no certificates in PEM",
        ),
        (
            "cert.pem",
            hollow,
            "STREAMGATE_TLS_CERTIFICATE: cert.pem cannot be used: ",
        ),
    ] {
        issue(&shell, "the first", 4000);
        write(&shell, file, text);
        let ended = shell.run_with(&[LISTEN, FILES[0], FILES[1]], &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(said), "{said}: {ended:?}");
    }
}

#[test]
fn on_a_hangup_a_bad_pair_is_refused_and_a_good_one_is_used() {
    let shell = Shell::new();
    issue(&shell, "the first", 4000);
    let (program, address) = start(&shell);
    fs::copy(shell.folder().join("cert.pem"), shell.folder().join("first.pem")).expect("a copy");
    issue(&shell, "the second", 4000);
    fs::copy(shell.folder().join("cert.pem"), shell.folder().join("second.pem")).expect("a copy");
    write(&shell, "key.pem", "no key");
    program.signal("HUP");
    program.until_err("holds no private key in PEM; an encrypted one cannot be used; the TLS certificate before it");
    assert!(shown(&shell, &address, "first.pem").contains("the first"));
    issue(&shell, "the third", 2001);
    fs::copy(shell.folder().join("cert.pem"), shell.folder().join("third.pem")).expect("a copy");
    program.signal("HUP");
    let log = program.until_err("the TLS certificate has expired");
    assert!(log.contains("CN=the third") && log.contains("2001-12-31T"), "{log}");
    assert!(ask(&shell, &address, "first.pem").is_err(), "it is not shown any more");
    program.signal("TERM");
    assert_eq!(program.until_end().code, Some(0));
}

#[test]
fn a_first_start_prints_lines_for_tls() {
    let shell = Shell::new();
    issue(&shell, "the first", 4000);
    let (program, address) = start(&shell);
    let screen = program.until_out("The token is lost?");
    for line in [
        format!("Streamgate listens on https://{address}"),
        format!("https://{address}/#/welcome/"),
        format!("curl -sS --cacert cert.pem -X POST https://{address}/session "),
        format!("wscat --ca cert.pem -c \"wss://{address}/session/$(curl "),
    ] {
        assert!(screen.contains(&line), "{line}: {screen}");
    }
    assert!(
        !screen.contains("STREAMGATE_URL="),
        "the client speaks no TLS: {screen}"
    );
    program.signal("TERM");
    assert_eq!(program.until_end().code, Some(0));
}
