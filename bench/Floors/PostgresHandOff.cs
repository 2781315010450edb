using System.Threading.Channels;
using Npgsql;

namespace Scheduler.Bench.Floors;

/// <summary>
/// A row deleted and told by NOTIFY in one round trip, whose commit does not wait for the disk; the other process hears it and inserts the
/// row, durably: two round trips and a commit, and the server's way to tell.
/// </summary>
internal sealed class PostgresHandOff : IRawHandOff
{
    private readonly NpgsqlConnection _connection;
    private readonly NpgsqlConnection _listening;
    private readonly Channel<bool> _turns = Channel.CreateUnbounded<bool>();
    private readonly CancellationTokenSource _ended = new();
    private readonly NpgsqlCommand _take;
    private readonly NpgsqlCommand _pass;
    private readonly Task _hearing;

    /// <summary>Connects, and makes the table.</summary>
    /// <param name="connectionString">Where the server is.</param>
    /// <param name="me">0 or 1; 0 begins.</param>
    public PostgresHandOff(string connectionString, int me)
    {
        _connection = new NpgsqlConnection(connectionString);
        _connection.Open();
        // One after the other: of two that make a table at once PostgreSQL refuses one, whatever the statement says.
        Execute(_connection, "SELECT pg_advisory_xact_lock(1); CREATE TABLE IF NOT EXISTS raw_hand_off (key text PRIMARY KEY)");
        _take = new NpgsqlCommand("INSERT INTO raw_hand_off VALUES ('key') ON CONFLICT DO NOTHING RETURNING key", _connection);
        _pass = new NpgsqlCommand(
            "WITH gone AS (DELETE FROM raw_hand_off) SELECT set_config('synchronous_commit', 'off', true), "
                + $"pg_notify('{TurnOf(1 - me)}', '')",
            _connection
        );
        _take.Prepare();
        _pass.Prepare();
        _listening = new NpgsqlConnection(connectionString);
        _listening.Open();
        _listening.Notification += (_, _) => _turns.Writer.TryWrite(true);
        Execute(_listening, $"LISTEN {TurnOf(me)}");
        _hearing = HearAsync();
        if (me == 0)
        {
            _turns.Writer.TryWrite(true);
        }
    }

    public async Task TakeAsync(CancellationToken cancellationToken)
    {
        await _turns.Reader.ReadAsync(cancellationToken);
        if (await _take.ExecuteScalarAsync(CancellationToken.None) is null)
        {
            throw new InvalidOperationException("The lock was passed on, but it is not free.");
        }
    }

    public Task PassAsync() => _pass.ExecuteNonQueryAsync();

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        await _hearing;
        await _take.DisposeAsync();
        await _pass.DisposeAsync();
        await _listening.DisposeAsync();
        await _connection.DisposeAsync();
        _ended.Dispose();
    }

    private async Task HearAsync()
    {
        try
        {
            while (true)
            {
                await _listening.WaitAsync(_ended.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The measurement has ended.
        }
    }

    private static void Execute(NpgsqlConnection connection, string sql)
    {
        using var command = new NpgsqlCommand(sql, connection);
        command.ExecuteNonQuery();
    }

    private static string TurnOf(int player) => $"raw_turn_{player}";
}
