<?php
// Leaks one connection a way: `ledger.php WAY PORT`. The comment "opened here" names the function to be named.
[, $way, $port] = ($argv ?? []) + ['', 'hang', 0];
$kept = [];

function openLedger(int $port): void
{
    global $kept;
    $kept[] = fsockopen('127.0.0.1', $port); // opened here: openLedger
}

function openStream(int $port): void
{
    global $kept;
    $kept[] = stream_socket_client("tcp://127.0.0.1:$port"); // opened here: openStream
}

function serve(int $port): void
{
    global $kept;
    $listener = stream_socket_server("tcp://127.0.0.1:$port");
    while (true) {
        $kept[] = stream_socket_accept($listener, 600); // opened here: serve
    }
}

function fetch(int $port): void
{
    global $kept;
    $kept[] = $curl = curl_init("http://127.0.0.1:$port/");
    curl_setopt($curl, CURLOPT_RETURNTRANSFER, true);
    curl_exec($curl); // opened here: fetch
}

switch ($way) {
    case 'fsockopen': openLedger($port); break;
    case 'stream': openStream($port); break;
    case 'accept': serve($port); break;
    case 'curl': fetch($port); break;
}
sleep(600);
