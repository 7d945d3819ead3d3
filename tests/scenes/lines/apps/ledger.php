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

class Ledger
{
    public function open(int $port): void
    {
        global $kept;
        $kept[] = stream_socket_client("tcp://127.0.0.1:$port"); // opened here: Ledger::open
    }
}

function opened(int $port): Generator
{
    yield stream_socket_client("tcp://127.0.0.1:$port"); // opened here: opened
}

function openSocket(int $port): void
{
    global $kept;
    $kept[] = $socket = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
    socket_connect($socket, '127.0.0.1', $port); // opened here: openSocket
}

function openHot(int $port, int $nth): int
{
    global $kept;
    if ($nth === 50000) {
        $kept[] = stream_socket_client("tcp://127.0.0.1:$port"); // opened here: openHot
    }
    return $nth;
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
    case 'method': (new Ledger())->open($port); break;
    case 'generator': $kept[] = opened($port)->current(); break;
    case 'fiber': $kept[] = $fiber = new Fiber('openStream'); $fiber->start($port); break;
    case 'sockets': openSocket($port); break;
    case 'hot':
        for ($nth = 0; $nth <= 50000; $nth++) {
            openHot($port, $nth);
        }
        break;
    case 'accept': serve($port); break;
    case 'curl': fetch($port); break;
}
sleep(600);
