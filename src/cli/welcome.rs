//! What a newcomer sees at the first start: credentials, once, and lines that work when pasted.

use crate::server::Demo;
use std::net::SocketAddr;

/// The screen. Lines to be pasted start at the margin and hold nothing to be filled in.
pub fn screen(address: SocketAddr, demo: &Demo) -> String {
    let host = reachable(address);
    let Demo {
        company,
        user,
        token,
        link,
        path,
    } = demo;
    let key = format!("-H 'X-Auth-User: {user}' -H 'X-Auth-Token: {token}'");
    let open = format!("curl -sS -X POST http://{host}/session -H 'X-Auth-Company: {company}' {key}");
    let program = std::env::current_exe();
    let program = program.map_or_else(|_| "streamgate".to_owned(), |path| quoted(&path.to_string_lossy()));
    format!(
        r#"
  Streamgate listens on http://{host}

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

wscat -c "ws://{host}/session/$({open} | cut -d'"' -f14)/ws"

  3. Paste into wscat, to subscribe:

{{"msgId":1,"object":"event","type":"subscribe","path":"{path}"}}

  4. In a second terminal publish an event, and see it arrive in the first:

curl -sS -X POST http://{host}/v5.0/{company}/event {key} -d '{{"path":"{path}","elems":{{"hello":"world"}}}}' -w '\n'

  5. No wscat at hand? This follows the stream as well:

STREAMGATE_URL=http://{host} STREAMGATE_COMPANY={company} STREAMGATE_USER={user} STREAMGATE_TOKEN={token} {program} tail {path}

  The token is lost? {program} user rotate {company} {user}
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
pub fn line(address: SocketAddr) -> String {
    format!("Streamgate listens on http://{}", reachable(address))
}

/// The address as somebody on this machine reaches it.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("127.0.0.1:{}", address.port());
    }
    address.to_string()
}
