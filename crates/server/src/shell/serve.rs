//! The accept loop: warp's filters over hyper, with bounds that `warp::serve` does not have.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use restic_manager_core::api::ErrorBody;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::Reply as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::Peer;
use super::guarded::Guarded;
use super::patience::TimedBody;

/// As many as the kernel lets wait: a whole fleet reconnects at once after a restart.
const BACKLOG: u32 = 4096;
/// A moment: for the system to get descriptors back, for what was cut off to end.
const REST: Duration = Duration::from_millis(100);

/// The bounds of the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A request's head must be there so long after the connection, or the answer before it.
    pub head_within: Duration,
    /// A request's body must be there so long after its head.
    pub body_within: Duration,
    /// Open requests may go on so long after the stop was asked for.
    pub drain_within: Duration,
    /// Connections open at the same time; the kernel queues what comes on top.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_within: Duration::from_secs(10),
            body_within: Duration::from_secs(30),
            drain_within: Duration::from_secs(8),
            connections: 20_000,
        }
    }
}

/// Takes an address.
///
/// # Errors
///
/// What the system said: the address is taken, not ours, or for root.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else a restart would wait a minute for the old connections' last packets.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` is cancelled and what is open then has ended, or its time is over.
///
/// Streams and sockets must watch `stop` themselves: an upgraded connection is waited for and counted like any other, but
/// only its owner can end it. Every request carries its [`Peer`] among its extensions. A handler that panics is answered
/// with 500.
pub async fn serve(
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(warp::service(routes));
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (tracker, abandon) = (TaskTracker::new(), CancellationToken::new());
    while let Some((stream, peer, permit)) = accept(&listener, &permits, &stop).await {
        let answer = {
            let service = service.clone();
            move |request| answer(service.clone(), request, peer, limits.body_within)
        };
        let builder = connection_builder(limits);
        let (stop, abandon) = (stop.clone(), abandon.clone());
        let stream = TokioIo::new(Guarded::new(stream, permit, tracker.token()));
        tokio::spawn(async move {
            let connection = builder.serve_connection(stream, service_fn(answer)).with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection => ended,
                        () = abandon.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(limits.drain_within, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "connections were cut off: their time was over");
        abandon.cancel();
        // Upgraded ones may stay: they end with the process.
        let _stayed = tokio::time::timeout(REST, tracker.wait()).await;
    }
}

/// The next connection; none when it is time to stop.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let next = async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "the connection keeps its delay");
                    }
                    return Some((stream, peer, permit));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        next = next => next,
    }
}

fn connection_builder(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_within);
    builder
}

async fn answer<S>(
    service: S,
    request: http::Request<Incoming>,
    peer: SocketAddr,
    body_within: Duration,
) -> Result<Response, Infallible>
where
    S: Service<http::Request<TimedBody>, Response = Response, Error = Infallible>,
{
    let mut request = request.map(|body| TimedBody::new(body, body_within));
    request.extensions_mut().insert(Peer(peer));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Called inside the guarded future: a filter may panic before it makes its first future.
    let answer = AssertUnwindSafe(async move { service.call(request).await }).catch_unwind().await;
    match answer {
        Ok(answer) => answer,
        Err(_panic) => {
            tracing::error!(%method, path, "a handler panicked; its caller was answered with 500");
            Ok(internal_error())
        }
    }
}

fn internal_error() -> Response {
    let body = ErrorBody {
        code: "internal".to_owned(),
        message: "the server failed while it answered; its log says more".to_owned(),
        hint: None,
    };
    warp::reply::with_status(warp::reply::json(&body), StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use warp::Filter as _;

    use super::*;

    /// Ends a test that would wait for ever; no test waits for it.
    const DEADLINE: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<()>,
        /// Told when a request has reached `/wait`.
        arrived: Arc<Notify>,
        /// Lets `/wait` answer.
        release: Arc<Notify>,
    }

    fn start(limits: Limits) -> Server {
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let routes = routes(&arrived, &release);
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, routes, limits, stop.clone()));
        Server { address, stop, task, arrived, release }
    }

    fn routes(arrived: &Arc<Notify>, release: &Arc<Notify>) -> BoxedFilter<(Response,)> {
        let (arrived, release) = (Arc::clone(arrived), Arc::clone(release));
        let peer = warp::path!("peer")
            .and(warp::ext::get::<Peer>())
            .map(|Peer(peer): Peer| Response::new(peer.to_string().into()));
        let released = Arc::clone(&release);
        let wait = warp::path!("wait").then(move || {
            let (arrived, release) = (Arc::clone(&arrived), Arc::clone(&release));
            async move {
                arrived.notify_one();
                release.notified().await;
                Response::new("done".into())
            }
        });
        let body = warp::path!("body")
            .and(warp::body::bytes())
            .map(|bytes: bytes::Bytes| Response::new(format!("{} bytes", bytes.len()).into()));
        let panics = warp::path!("panic").map(|| -> Response { panic!("on purpose") });
        let upgrade = warp::path!("upgrade").and(warp::ext::get::<hyper::upgrade::OnUpgrade>()).map(
            move |upgrade: hyper::upgrade::OnUpgrade| {
                let released = Arc::clone(&released);
                tokio::spawn(async move {
                    let mut raw = TokioIo::new(upgrade.await.unwrap());
                    released.notified().await;
                    raw.write_all(b"raw").await.unwrap();
                    raw.shutdown().await.unwrap();
                });
                let answer = http::Response::builder().status(101).header("upgrade", "raw");
                answer.header("connection", "upgrade").body(String::new().into()).unwrap()
            },
        );
        peer.or(wait).unify().or(body).unify().or(panics).unify().or(upgrade).unify().boxed()
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// All that comes until the server closes.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        let read =
            tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.expect("the server closes");
        // A connection that is cut off may end in a reset.
        let _length = read.unwrap_or_default();
        String::from_utf8(text).unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        rest(send(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await)
            .await
    }

    async fn ended(server: Server) {
        tokio::time::timeout(DEADLINE, server.task).await.expect("the loop ends").unwrap();
    }

    #[tokio::test]
    async fn half_a_request_line_is_closed_and_others_are_served_meanwhile() {
        let server = start(Limits { head_within: SHORT, ..Limits::default() });
        let half = send(server.address, "GET /peer HT").await;
        assert!(get(server.address, "/peer").await.starts_with("HTTP/1.1 200 OK"));
        let answer = rest(half).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn half_a_body_is_answered_and_closed() {
        let server = start(Limits { body_within: SHORT, ..Limits::default() });
        let head = "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
        let answer = rest(send(server.address, &format!("{head}abc")).await).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"), "{answer}");
        let whole = "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc";
        assert!(rest(send(server.address, whole).await).await.ends_with("3 bytes"));
    }

    #[tokio::test]
    async fn an_open_request_is_finished_after_the_stop_and_no_other_begins() {
        let server = start(Limits::default());
        let open = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let idle = TcpStream::connect(server.address).await.unwrap();
        server.arrived.notified().await;
        server.stop.cancel();
        // The idle connection is closed at once, which shows that the stop has reached the loop.
        assert_eq!(rest(idle).await, "");
        assert!(TcpStream::connect(server.address).await.is_err());
        server.release.notify_one();
        let answer = rest(open).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        ended(server).await;
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off() {
        let server = start(Limits { drain_within: SHORT, ..Limits::default() });
        let open = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
        server.arrived.notified().await;
        server.stop.cancel();
        assert_eq!(rest(open).await, "");
        ended(server).await;
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_the_server_goes_on() {
        let server = start(Limits::default());
        let answer = get(server.address, "/panic").await;
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
        assert!(answer.contains("application/json") && answer.contains(r#"{"code":"internal""#), "{answer}");
        assert!(get(server.address, "/peer").await.contains("127.0.0.1:"));
    }

    #[tokio::test]
    async fn an_upgraded_connection_is_waited_for_like_any_other() {
        let mut server = start(Limits::default());
        let request = "GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
        let mut open = send(server.address, request).await;
        let mut head = [0; 12];
        open.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        server.stop.cancel();
        // That the loop goes on can only be seen by waiting; a slow machine makes this pass, never fail.
        assert!(tokio::time::timeout(SHORT, &mut server.task).await.is_err());
        server.release.notify_one();
        ended(server).await;
        assert!(rest(open).await.ends_with("\r\n\r\nraw"));
    }

    #[tokio::test]
    async fn what_is_above_the_bound_waits_for_its_turn() {
        let server = start(Limits { connections: 1, ..Limits::default() });
        let first = send(server.address, "GET /wait HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        server.arrived.notified().await;
        let request = "GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut second = tokio::spawn(rest(send(server.address, request).await));
        // That nothing happens can only be seen by waiting; a slow machine makes this pass, never fail.
        assert!(tokio::time::timeout(SHORT, &mut second).await.is_err());
        server.release.notify_one();
        assert!(rest(first).await.ends_with("done"));
        assert!(second.await.unwrap().starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let server = start(Limits::default());
        assert_eq!(bind(server.address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
