using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;

namespace Scheduler.Testing.Servers;

/// <summary>A real MariaDB server for tests: a process of its own on a free port of the loopback address with a folder of its own. It has
/// no system tables, so it takes everybody as <c>root</c>.</summary>
public sealed class MariaDbServer : IAsyncDisposable
{
    private const string Program = "/usr/sbin/mariadbd";
    private const string Install = "mariadb-server-core";
    private const int SigKill = 9;
    private const int SigTerm = 15;
    private static readonly TimeSpan StartBound = TimeSpan.FromSeconds(30);
    private static readonly Lazy<Task<MariaDbServer>> Shared = new(StartSharedAsync);
    private static int s_databases;

    private readonly string _folder;
    private readonly ServiceProcess _process;

    private MariaDbServer(string folder, int port, string[] settings)
    {
        _folder = folder;
        Port = port;
        var data = Path.Combine(folder, "data");
        _process = ServiceProcess.Start(
            Program,
            Install,
            folder,
            Log,
            [],
            [
                "--no-defaults",
                $"--datadir={data}",
                string.Create(CultureInfo.InvariantCulture, $"--port={port}"),
                "--bind-address=127.0.0.1",
                $"--socket={Path.Combine(folder, "s")}",
                $"--pid-file={Path.Combine(folder, "pid")}",
                "--skip-grant-tables",
                "--skip-name-resolve",
                "--innodb-log-file-size=8M",
                .. settings,
            ]
        );
    }

    /// <summary>Where it listens.</summary>
    public int Port { get; }

    private string Log => Path.Combine(_folder, "server.log");

    /// <summary>One server for all tests that leave it as it is: each takes a database of its own. Ends with the test run.</summary>
    public static Task<MariaDbServer> SharedAsync() => Shared.Value;

    /// <summary>Starts a server of one's own and waits until it answers.</summary>
    /// <param name="settings">Settings of the server, for example <c>--idle-write-transaction-timeout=1</c>.</param>
    public static async Task<MariaDbServer> StartAsync(params string[] settings)
    {
        for (var attempt = 1; ; attempt++)
        {
            var folder = await ServiceProcess.FolderAsync("scheduler-mariadb-");
            Directory.CreateDirectory(Path.Combine(folder, "data"));
            await ServiceProcess.OwnAsync(folder);
            var server = new MariaDbServer(folder, FreePort.Next(), settings);
            try
            {
                await server.WaitUntilItAnswersAsync();
                return server;
            }
            // Between finding a free port and listening on it, another process may have taken it.
            catch (InvalidOperationException) when (attempt < 3 && server._process.HasExited)
            {
                await server.DisposeAsync();
            }
        }
    }

    /// <summary>A name for a database that no other test has.</summary>
    public static string NewDatabase() =>
        string.Create(CultureInfo.InvariantCulture, $"test_{Environment.ProcessId}_{Interlocked.Increment(ref s_databases)}");

    /// <summary>As MySqlConnector and Connector/NET read it; the server itself, no database.</summary>
    public string ConnectionString =>
        string.Create(CultureInfo.InvariantCulture, $"Server=127.0.0.1;Port={Port};User ID=root;SslMode=None");

    /// <summary>Stops all its processes in their tracks: connections stay open and nothing answers.</summary>
    public void Freeze() => _process.Freeze();

    /// <summary>Lets a frozen server go on.</summary>
    public void Thaw() => _process.Thaw();

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Thaw();
            _process.Signal(SigKill);
            await _process.EndedAsync();
        }
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static async Task<MariaDbServer> StartSharedAsync()
    {
        var server = await StartAsync();
        ServiceProcess.AtExit(() => server._process.Signal(SigTerm), server._folder);
        return server;
    }

    // The server speaks first.
    private async Task WaitUntilItAnswersAsync()
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync("127.0.0.1", Port);
                using var limit = new CancellationTokenSource(StartBound, TimeProvider.System);
                if (await client.GetStream().ReadAsync(new byte[1], limit.Token) == 1)
                {
                    return;
                }
            }
            catch (Exception cause) when (cause is SocketException or IOException)
            {
                if (_process.HasExited)
                {
                    throw new InvalidOperationException(
                        $"MariaDB ended with code {_process.ExitCode}: {await File.ReadAllTextAsync(Log)}",
                        cause
                    );
                }
                if (watch.Elapsed > StartBound)
                {
                    throw new InvalidOperationException(
                        $"MariaDB at 127.0.0.1:{Port} does not answer within {StartBound.TotalSeconds} s.",
                        cause
                    );
                }
            }
            await Eventually.Passes(TimeSpan.FromMilliseconds(20));
        }
    }
}
