import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** A Java service as its users write it: it ends with 143, as every JVM does after SIGTERM. */
public class Server {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/hello", exchange -> {
            byte[] body = "hello".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.createContext("/slow", exchange -> {
            System.out.println("slow request began");
            try {
                Thread.sleep(1000);
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
            byte[] body = "slept".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.createContext("/broken", exchange -> {
            try {
                throw new IllegalStateException("boom");
            } catch (IllegalStateException error) {
                new RuntimeException("request failed", error).printStackTrace();
            }
            exchange.sendResponseHeaders(500, -1);
            exchange.close();
        });
        server.start();
    }
}
