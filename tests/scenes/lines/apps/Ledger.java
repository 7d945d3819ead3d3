// Leaks one connection a way: `Ledger WAY PORT`. The comment "opened here" names the method that has to be named.
import java.io.InputStream;
import java.net.*;
import java.net.http.*;
import java.nio.channels.*;
import java.util.*;
import java.util.concurrent.*;

public class Ledger {
    static final List<Object> kept = Collections.synchronizedList(new ArrayList<>());
    static int port;

    static Socket openLedger() throws Exception {
        Socket socket = new Socket("127.0.0.1", port); // opened here: Ledger.openLedger
        kept.add(socket);
        return socket;
    }

    static void retry() {
        try {
            openLedger();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static void openLater() throws Exception {
        Socket socket = new Socket();
        kept.add(socket);
        socket.connect(new InetSocketAddress("127.0.0.1", port), 5000); // opened here: Ledger.openLater
    }

    // As code that runs for long does: it is compiled when it matters.
    static void openHot() throws Exception {
        for (int i = 0; i < 300; i++) {
            Socket socket = new Socket("127.0.0.1", port); // opened here: Ledger.openHot
            if (i < 299) socket.close();
            else kept.add(socket);
        }
    }

    static void serve() throws Exception {
        ServerSocket listener = new ServerSocket(port, 16, InetAddress.getLoopbackAddress());
        while (true) {
            Socket socket = listener.accept(); // opened here: Ledger.serve
            kept.add(socket);
            new Thread(() -> handle(socket)).start();
        }
    }

    static void handle(Socket socket) {
        try {
            Thread.sleep(600_000);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    static void readAll() throws Exception {
        InputStream input = openLedger().getInputStream();
        byte[] some = new byte[256];
        int count;
        do
            count = input.read(some); // read here: Ledger.readAll
        while (count > 0);
    }

    static void fetch() throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL("http://127.0.0.1:" + port + "/endless").openConnection();
        kept.add(connection);
        connection.getInputStream().read(); // opened here: Ledger.fetch
    }

    // The client connects for its first request on the thread that asks, later on one of its own.
    static void fetchByClient() throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/endless")).build();
        kept.add(client);
        kept.add(client.send(request, HttpResponse.BodyHandlers.ofInputStream())); // opened here: Ledger.fetchByClient
    }

    static void openChannel() throws Exception {
        SocketChannel channel = SocketChannel.open(new InetSocketAddress("127.0.0.1", port)); // opened here: Ledger.openChannel
        kept.add(channel);
    }

    static void select() throws Exception {
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("127.0.0.1", port)).configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            selector.selectedKeys().clear();
            SocketChannel channel = listener.accept(); // opened here: Ledger.select
            if (channel != null) kept.add(channel);
        }
    }

    static void openAsync() throws Exception {
        AsynchronousSocketChannel channel = AsynchronousSocketChannel.open();
        kept.add(channel);
        channel.connect(new InetSocketAddress("127.0.0.1", port)).get(); // opened here: Ledger.openAsync
    }

    static int descend(int levels) throws Exception {
        return levels > 0 ? descend(levels - 1) + 1 : openLedger().getPort();
    }

    static class Till {
        void open() throws Exception {
            Socket socket = new Socket("127.0.0.1", port); // opened here: Ledger$Till.open
            kept.add(socket);
        }
    }

    static class Early {
        static final Socket SOCKET;
        static {
            try {
                SOCKET = new Socket("127.0.0.1", port); // opened here: Ledger$Early.<clinit>
            } catch (Exception error) {
                throw new ExceptionInInitializerError(error);
            }
        }
    }

    static void inVirtualThread() throws Exception {
        Thread thread = (Thread) Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, (Runnable) Ledger::retry);
        thread.join();
    }

    public static void main(String[] arguments) throws Exception {
        port = Integer.parseInt(arguments[1]);
        switch (arguments[0]) {
            case "connect" -> openLedger();
            case "later" -> openLater();
            case "hot" -> openHot();
            case "accept" -> serve();
            case "thread" -> new Thread(Ledger::retry).start();
            case "executor" -> Executors.newFixedThreadPool(2).submit(Ledger::retry);
            case "future" -> CompletableFuture.runAsync(Ledger::retry).get();
            case "lambda" -> {
                Callable<Socket> open = () -> new Socket("127.0.0.1", port); // opened here: lambda$main
                kept.add(open.call());
            }
            case "inner" -> new Till().open();
            case "initialiser" -> kept.add(Early.SOCKET);
            case "reflection" -> Ledger.class.getDeclaredMethod("openLater").invoke(null);
            case "recursion" -> descend(400);
            case "url" -> fetch();
            case "client" -> fetchByClient();
            case "channel" -> openChannel();
            case "select" -> select();
            case "async" -> openAsync();
            case "virtual" -> inVirtualThread();
            case "read" -> readAll();
            default -> System.exit(2);
        }
        System.out.println("ready");
        Thread.sleep(600_000);
    }
}
