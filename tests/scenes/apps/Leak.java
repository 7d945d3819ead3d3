import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Keeps every connection: those that come, or one that it makes when a line is asked for. */
public class Leak {
    private static final List<Socket> KEPT = Collections.synchronizedList(new ArrayList<>());

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[1]);
        if (arguments[0].equals("serve")) {
            serve(port);
            return;
        }
        try (ServerSocket trigger = new ServerSocket(Integer.parseInt(arguments[2]), 1, InetAddress.getLoopbackAddress())) {
            System.out.println("ready");
            trigger.accept().close();
        }
        KEPT.add(refund(port));
        System.out.println("connected");
        Thread.sleep(Long.MAX_VALUE);
    }

    private static void serve(int port) throws IOException {
        ServerSocket server = new ServerSocket(port, 16, InetAddress.getLoopbackAddress());
        ExecutorService pool = Executors.newFixedThreadPool(2);
        for (int thread = 0; thread < 2; thread++) {
            pool.submit(() -> {
                while (true) {
                    KEPT.add(server.accept()); // accepted here
                }
            });
        }
        System.out.println("ready");
    }

    private static Socket refund(int port) throws IOException {
        return new Socket(InetAddress.getLoopbackAddress(), port); // connected here
    }
}
