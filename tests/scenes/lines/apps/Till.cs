// Leaks one connection a way: `Till.exe WAY PORT`. The comment "opened here" names the method to be named.
using System.Net;
using System.Net.Sockets;
using System.Threading;

static class Till
{
    static object kept;

    static void Open(int port)
    {
        kept = new TcpClient("127.0.0.1", port); // opened here: Till:Open
    }

    static void Serve(int port)
    {
        var listener = new TcpListener(IPAddress.Loopback, port);
        listener.Start();
        kept = listener.AcceptTcpClient(); // opened here: Till:Serve
    }

    static void Main(string[] arguments)
    {
        var port = int.Parse(arguments[1]);
        if (arguments[0] == "connect") Open(port);
        else Serve(port);
        Thread.Sleep(600000);
    }
}
