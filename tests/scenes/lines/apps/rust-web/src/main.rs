//! Leaks one connection a way: `web WAY PORT`. Each library opens its connections on tasks of its own.

async fn fetch(port: &str) {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/endless")).await.unwrap(); // opened here: fetch
    std::mem::forget(answer);
    std::future::pending().await
}

async fn serve(port: &str) {
    // It blocks its thread, so that nobody sees the client leave.
    let router = axum::Router::new().fallback(|| async { std::thread::sleep(std::time::Duration::from_secs(600)) });
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    axum::serve(listener, router).await.unwrap(); // opened here: serve
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &*arguments[1] {
        "reqwest" => fetch(&arguments[2]).await,
        _ => serve(&arguments[2]).await,
    }
}
