using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Npgsql;

namespace Scheduler.Testing.Servers;

/// <summary>A PgBouncer that pools transactions, in front of a PostgreSQL of the tests: a process of its own.</summary>
public sealed class PgBouncerServer : IAsyncDisposable
{
    private const string Program = "/usr/sbin/pgbouncer";

    // Ends it at once; an interrupt would wait for its clients.
    private const int SigTerminate = 15;
    private static readonly TimeSpan StartBound = TimeSpan.FromSeconds(20);

    private readonly string _folder;
    private readonly ServiceProcess _process;

    private PgBouncerServer(string folder, int port, ServiceProcess process)
    {
        _folder = folder;
        Port = port;
        _process = process;
    }

    /// <summary>Where it listens on the loopback address.</summary>
    public int Port { get; }

    private string Log => Path.Combine(_folder, "pgbouncer.log");

    /// <summary>Starts one for all databases of a server.</summary>
    /// <param name="connectionString">The server, with the user and the password that it knows.</param>
    /// <param name="settings">Further lines of its configuration.</param>
    public static async Task<PgBouncerServer> StartAsync(string connectionString, params string[] settings)
    {
        var target = new NpgsqlConnectionStringBuilder(connectionString);
        var folder = await ServiceProcess.FolderAsync("scheduler-pgbouncer-");
        var port = FreePort.Next();
        var users = Path.Combine(folder, "users.txt");
        await File.WriteAllTextAsync(users, $"\"{target.Username}\" \"{target.Password}\"\n");
        string[] lines =
        [
            "[databases]",
            string.Create(CultureInfo.InvariantCulture, $"* = host={target.Host} port={target.Port}"),
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            string.Create(CultureInfo.InvariantCulture, $"listen_port = {port}"),
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            $"auth_file = {users}",
            "pool_mode = transaction",
            "default_pool_size = 6",
            "max_client_conn = 500",
            .. settings,
        ];
        var file = Path.Combine(folder, "pgbouncer.ini");
        await File.WriteAllLinesAsync(file, lines);
        await ServiceProcess.OwnAsync(folder);
        var log = Path.Combine(folder, "pgbouncer.log");
        var server = new PgBouncerServer(folder, port, ServiceProcess.Start(Program, "pgbouncer", folder, log, [], file));
        await server.WaitUntilItListensAsync();
        return server;
    }

    /// <summary>The connection string of a database of the server behind, over this proxy.</summary>
    public string Through(string connectionString) =>
        new NpgsqlConnectionStringBuilder(connectionString) { Host = "127.0.0.1", Port = Port }.ConnectionString;

    /// <summary>For one that tests share: ends it with the test run.</summary>
    public void EndWithTheRun() => ServiceProcess.AtExit(() => _process.Signal(SigTerminate), _folder);

    public async ValueTask DisposeAsync()
    {
        _process.Signal(SigTerminate);
        await _process.EndedAsync();
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task WaitUntilItListensAsync()
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync("127.0.0.1", Port);
                return;
            }
            catch (SocketException cause)
            {
                if (_process.HasExited || watch.Elapsed > StartBound)
                {
                    throw new InvalidOperationException($"PgBouncer does not listen: {await File.ReadAllTextAsync(Log)}", cause);
                }
            }
            await Eventually.Passes(TimeSpan.FromMilliseconds(10));
        }
    }
}
