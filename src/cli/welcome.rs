//! What a newcomer sees at the first start: credentials, once, and lines that work when pasted.

use crate::domain::person::PublicUrl;
use crate::server::{Demo, Place};
use std::net::SocketAddr;

/// The screen. Lines to be pasted start at the margin and hold nothing to be filled in.
pub fn screen(place: &Place, notices: Option<SocketAddr>, demo: &Demo) -> String {
    let (first, Place { url, certificate }) = (line(place, notices), place);
    let socket = url.socket();
    let Demo {
        company,
        user,
        token,
        link,
        path,
    } = demo;
    let key = format!("-H 'X-Auth-User: {user}' -H 'X-Auth-Token: {token}'");
    let trust = |flag: &str| {
        let shown = certificate.as_ref().map(|path| quoted(&path.to_string_lossy()));
        shown.map_or_else(String::new, |path| format!(" {flag} {path}"))
    };
    let (curl, wscat) = (
        format!("curl -sS{}", trust("--cacert")),
        format!("wscat{}", trust("--ca")),
    );
    let open = format!("{curl} -X POST {url}/session -H 'X-Auth-Company: {company}' {key}");
    let program = std::env::current_exe();
    let program = program.map_or_else(|_| "streamgate".to_owned(), |path| quoted(&path.to_string_lossy()));
    let tail = format!(
        r#"  5. No wscat at hand? This follows the stream as well:

STREAMGATE_URL={url} STREAMGATE_COMPANY={company} STREAMGATE_USER={user} STREAMGATE_TOKEN={token} {program} tail {path}

"#
    );
    // The command line's own client does not speak TLS.
    let tail = if url.is_secure() { "" } else { &tail };
    format!(
        r#"
  {first}

  This is the first start. It made a company, a user with a master token, and a stream;
  the token is shown this once.

    company  {company}
    user     {user}
    token    {token}
    stream   {path}

  Open this in a browser to set a password; it is good once, for a day:

    {link}

  1. Open a session. The answer holds its id, good for one minute unless something connects:

{open} -w '\n'

  2. Connect to a session of your own (npm install -g wscat):

{wscat} -c "{socket}/session/$({open} | cut -d'"' -f14)/ws"

  3. Paste into wscat, to subscribe:

{{"msgId":1,"object":"event","type":"subscribe","path":"{path}"}}

  4. In a second terminal publish an event, and see it arrive in the first:

{curl} -X POST {url}/v5.0/{company}/event {key} -d '{{"path":"{path}","elems":{{"hello":"world"}}}}' -w '\n'

{tail}  The token is lost? {program} user rotate {company} {user}
"#
    )
}

/// As a shell takes it, with quotes only where they are needed.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

/// What later starts say.
pub fn line(place: &Place, notices: Option<SocketAddr>) -> String {
    let url = &place.url;
    match notices {
        Some(address) => {
            let socket = PublicUrl::of(url.scheme(), address).socket();
            format!("Streamgate listens on {url}, and for clients of the users server on {socket}")
        }
        None => format!("Streamgate listens on {url}"),
    }
}
