// Leaks connections that libraries make: `Clients WAY PORT`. The line to name is the one that asked the library for it.
import io.netty.bootstrap.*;
import io.netty.channel.*;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.*;
import java.net.Socket;
import java.sql.DriverManager;
import java.util.*;
import org.apache.commons.pool2.*;
import org.apache.commons.pool2.impl.*;
import org.apache.http.client.methods.HttpGet;
import org.apache.http.impl.client.HttpClients;

public class Clients {
    static final List<Object> kept = new ArrayList<>();
    static int port;

    static String address() {
        return "http://127.0.0.1:" + port + "/endless";
    }

    static void fetchByApache() throws Exception {
        var client = HttpClients.createDefault();
        kept.add(client);
        kept.add(client.execute(new HttpGet(address()))); // opened here: Clients.fetchByApache
    }

    static void fetchByOkHttp() throws Exception {
        var client = new okhttp3.OkHttpClient();
        kept.add(client);
        var call = client.newCall(new okhttp3.Request.Builder().url(address()).build());
        kept.add(call.execute()); // opened here: Clients.fetchByOkHttp
    }

    static void dialDatabase() throws Exception {
        var address = "jdbc:postgresql://127.0.0.1:" + port + "/ledger?sslmode=disable&gssEncMode=disable&assumeMinServerVersion=9.4";
        kept.add(DriverManager.getConnection(address, "ledger", "")); // opened here: Clients.dialDatabase
    }

    static class Factory extends BasePooledObjectFactory<Socket> {
        @Override
        public Socket create() throws Exception {
            return new Socket("127.0.0.1", port); // opened here: Clients$Factory.create
        }

        @Override
        public PooledObject<Socket> wrap(Socket socket) {
            return new DefaultPooledObject<>(socket);
        }
    }

    static void takeFromPool() throws Exception {
        var pool = new GenericObjectPool<>(new Factory());
        kept.add(pool);
        kept.add(pool.borrowObject());
    }

    static class Idle extends ChannelInitializer<SocketChannel> {
        @Override
        protected void initChannel(SocketChannel channel) {
            channel.config().setAutoRead(false);
            kept.add(channel);
        }
    }

    static void connectByNetty() throws Exception {
        var bootstrap = new Bootstrap().group(new NioEventLoopGroup(1)).channel(NioSocketChannel.class).handler(new Idle());
        bootstrap.connect("127.0.0.1", port).sync();
    }

    static void serveByNetty() throws Exception {
        var bootstrap = new ServerBootstrap().group(new NioEventLoopGroup(1)).channel(NioServerSocketChannel.class);
        bootstrap.childHandler(new Idle()).bind("127.0.0.1", port).sync();
    }

    public static void main(String[] arguments) throws Exception {
        port = Integer.parseInt(arguments[1]);
        switch (arguments[0]) {
            case "apache" -> fetchByApache();
            case "okhttp" -> fetchByOkHttp();
            case "jdbc" -> dialDatabase();
            case "pool" -> takeFromPool();
            case "netty" -> connectByNetty();
            case "netty-accept" -> serveByNetty();
            default -> System.exit(2);
        }
        System.out.println("ready");
        Thread.sleep(600_000);
    }
}
