//! The second place for checkpoints: all of them, in order, however often it fails, and nobody waits.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fixture::{audit, event, spool_of};
use crate::access::Durability;
use crate::audit::{Known, Line, ledger, verify};

/// A server that takes lines and answers with each status of `script` in turn, then with 204.
async fn server(script: &'static [u16]) -> (String, Arc<Mutex<Vec<(u16, String)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/lines", listener.local_addr().unwrap());
    let taken: Arc<Mutex<Vec<(u16, String)>>> = Arc::default();
    let heard = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut script = script.iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let body = loop {
                let read = stream.read_buf(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                match text.split_once("\r\n\r\n") {
                    Some((_, body)) if body.ends_with('\n') => break body.to_owned(),
                    _ => assert_ne!(read, 0, "{text}"),
                }
            };
            let status = script.next().copied().unwrap_or(204);
            heard.lock().push((status, body));
            let answer = format!(
                "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = if status == 204 { answer.replace("Content-Length: 0\r\n", "") } else { answer };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, taken)
}

#[tokio::test]
async fn a_mirror_that_fails_gets_every_line_in_order_and_holds_nothing_up() {
    // Down, in trouble, sending elsewhere.
    let (url, taken) = server(&[503, 500, 302]).await;
    let data = tempfile::tempdir().unwrap();
    let running = audit(data.path(), |config| config.checkpoint_mirror = Some(url.clone())).await.unwrap();
    for number in 0..3 {
        running.sink().append(event(number), Durability::Synced).await.unwrap();
        running.checkpoint().await.unwrap();
    }
    assert!(running.mirror_lag() > 0, "nothing waits for it, and it is told");
    while running.mirror_lag() > 0 || taken.lock().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.close().await.unwrap();
    let sent: Vec<Line> = taken
        .lock()
        .iter()
        .filter(|(status, _)| *status == 204)
        .map(|(_, line)| serde_json::from_str(line).unwrap())
        .collect();
    let own = ledger::read(&spool_of(data.path()).join(ledger::CHECKPOINTS)).unwrap();
    // The key, that of the start, three, and the last one.
    assert_eq!((own.len(), &sent), (6, &own));
    assert!(
        taken.lock().iter().take(3).all(|(_, line)| line.contains("\"kind\":\"key\"")),
        "none is skipped"
    );
    let known = Known { checkpoints: sent, ..Known::default() };
    verify(&spool_of(data.path()), known, &mut |_| {}).unwrap();
}

#[tokio::test]
async fn a_mirror_that_is_away_over_a_restart_gets_the_rest_later() {
    let data = tempfile::tempdir().unwrap();
    let place = data.path().join("elsewhere").join("mirror");
    let target = format!("file:{}", place.display());
    for _ in 0..2 {
        let running =
            audit(data.path(), |config| config.checkpoint_mirror = Some(target.clone())).await.unwrap();
        running.checkpoint().await.unwrap();
        running.close().await.unwrap();
        assert!(running.mirror_lag() > 0 && !place.exists());
    }
    std::fs::create_dir(place.parent().unwrap()).unwrap();
    let running = audit(data.path(), |config| config.checkpoint_mirror = Some(target.clone())).await.unwrap();
    running.close().await.unwrap();
    assert_eq!(running.mirror_lag(), 0);
    let own = ledger::read(&spool_of(data.path()).join(ledger::CHECKPOINTS)).unwrap();
    assert_eq!(ledger::read(&place).unwrap(), own);
}
