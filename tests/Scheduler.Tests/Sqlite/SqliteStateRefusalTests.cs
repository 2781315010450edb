using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Runs;
using Scheduler.Sqlite.State;

namespace Scheduler.Tests.Sqlite;

/// <summary>What the SQLite State refuses, and how it says it.</summary>
public sealed class SqliteStateRefusalTests : IAsyncDisposable
{
    private readonly StateFolder _files = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    private static async Task<StateUnavailableException> RefusedAsync(SqliteState state, params string[] says)
    {
        var problem = await Assert.ThrowsAsync<StateUnavailableException>(() => state.OpenAsync(Stop).AsTask());
        Assert.All(says, part => Assert.Contains(part, problem.Message, StringComparison.Ordinal));
        return problem;
    }

    [Theory]
    [InlineData("nfs4")]
    [InlineData("fuse.sshfs")]
    public async Task A_file_system_of_the_network_or_of_FUSE_is_refused_and_nothing_is_made(string type)
    {
        var mounts = Path.Combine(_files.Folder, "mounts");
        await File.WriteAllTextAsync(mounts, $"1 0 0:1 / / rw - {type} x rw\n", Stop);

        var problem = await RefusedAsync(
            _files.State(mountInfoFile: mounts),
            $"'{_files.File}'",
            $"'{type}'",
            "Scheduler:State:ConnectionString"
        );

        Assert.True(problem.IsPermanent);
        Assert.False(Directory.Exists(Path.GetDirectoryName(_files.File)));
    }

    [Fact]
    public async Task A_link_to_such_a_file_system_is_refused_too()
    {
        var target = Directory.CreateDirectory(Path.Combine(_files.Folder, "remote")).FullName;
        File.CreateSymbolicLink(Path.Combine(_files.Folder, "link"), target);
        var mounts = Path.Combine(_files.Folder, "mounts");
        await File.WriteAllTextAsync(mounts, $"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {target} rw - nfs x rw\n", Stop);

        var problem = await RefusedAsync(
            _files.State(file: Path.Combine(_files.Folder, "link", "state.db"), mountInfoFile: mounts),
            "'nfs'"
        );

        Assert.True(problem.IsPermanent);
    }

    [Fact]
    public async Task A_folder_under_a_file_is_named_with_the_remedy()
    {
        var blocker = Path.Combine(_files.Folder, "file");
        await File.WriteAllTextAsync(blocker, "", Stop);
        var file = Path.Combine(blocker, "data", "state.db");

        var problem = await RefusedAsync(_files.State(file), $"'{file}'", "write permission", "Scheduler:State:ConnectionString");

        Assert.True(problem.IsPermanent);
    }

    [Fact]
    public async Task A_database_that_is_a_folder_is_named_with_the_remedy()
    {
        Directory.CreateDirectory(_files.File);
        Assert.True((await RefusedAsync(_files.State(), $"'{_files.File}'", "cannot be opened for writing")).IsPermanent);
    }

    [Fact]
    public async Task A_file_that_is_no_database_is_refused_and_left_alone()
    {
        var text = string.Concat(Enumerable.Repeat("no database ", 100));
        Directory.CreateDirectory(Path.GetDirectoryName(_files.File)!);
        await File.WriteAllTextAsync(_files.File, text, Stop);

        var problem = await RefusedAsync(_files.State(), $"'{_files.File}'", "no intact SQLite database", "restore the file from a backup");

        Assert.True(problem.IsPermanent);
        Assert.Equal(text, await File.ReadAllTextAsync(_files.File, Stop));
    }

    [Fact]
    public async Task A_file_that_was_damaged_is_refused()
    {
        await using (var state = await _files.OpenAsync())
        {
            await state.Runs.ClaimAsync(StateFolder.Claim(0), Stop);
        }
        await using (var file = File.OpenWrite(_files.File))
        {
            file.Position = 100;
            await file.WriteAsync(Enumerable.Repeat((byte)0xEE, 3_900).ToArray(), Stop);
        }
        Assert.True((await RefusedAsync(_files.State(), $"'{_files.File}'", "no intact SQLite database")).IsPermanent);
    }

    [Fact]
    public async Task A_file_that_can_only_be_read_is_refused_with_the_remedy()
    {
        await (await _files.OpenAsync()).DisposeAsync();
        // Not by permissions, which do not bind an account that may do everything.
        var problem = await RefusedAsync(_files.State(options: ";Mode=ReadOnly"), $"'{_files.File}'", "write permission");
        Assert.True(problem.IsPermanent);
    }

    [Fact]
    public async Task A_database_of_something_else_is_refused_and_left_alone()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_files.File)!);
        _files.Query<int>("CREATE TABLE payouts (id TEXT)");

        var problem = await RefusedAsync(_files.State(), $"'{_files.File}' is a database of something else");

        Assert.True(problem.IsPermanent);
        Assert.Equal(["payouts"], _files.Query<string>("SELECT name FROM sqlite_master"));
    }

    [Fact]
    public async Task The_file_of_the_locks_is_refused()
    {
        await using var locks = new LockFolder();
        await locks.ConnectAsync();
        Assert.True((await RefusedAsync(_files.State(locks.File), $"'{locks.File}' is a database of something else")).IsPermanent);
    }

    [Fact]
    public async Task A_file_that_is_deleted_while_in_use_is_named_and_not_made_anew_until_a_restart()
    {
        var state = await _files.OpenAsync();
        await state.Runs.ClaimAsync(StateFolder.Claim(0), Stop);
        File.Delete(_files.File);

        var write = await Assert.ThrowsAsync<StateUnavailableException>(() => state.Runs.ClaimAsync(StateFolder.Claim(1), Stop).AsTask());
        var read = await Assert.ThrowsAsync<StateUnavailableException>(() =>
            state.Runs.OpenRunsAsync(new OpenRunsQuery(DateTimeOffset.UnixEpoch), Stop).AsTask()
        );
        var open = await RefusedAsync(state, $"'{_files.File}' was deleted while in use", "backup");

        Assert.Equal([open.Message, open.Message], [write.Message, read.Message]);
        Assert.False(File.Exists(_files.File));
        Assert.IsType<ClaimResult.Claimed>(await (await _files.OpenAsync()).Runs.ClaimAsync(StateFolder.Claim(1), Stop));
    }

    [Fact]
    public async Task An_older_schema_goes_up_with_its_records_and_says_so_once()
    {
        await using (var state = await _files.OpenAsync())
        {
            await state.Runs.ClaimAsync(StateFolder.Claim(0), Stop);
        }
        Assert.Equal(1, _files.Log.Count(2150));
        var next = Migrations.BuildVersion + 1;
        IReadOnlyList<Migration> newer = [.. Migrations.All, new Migration(next, 1, "ALTER TABLE runs ADD COLUMN note TEXT")];

        using (var connection = Connect())
        {
            Migrations.Apply(connection, _files.File, _files.Log, newer);
            Migrations.Apply(connection, _files.File, _files.Log, newer);
        }

        Assert.Equal(2, _files.Log.Count(2150));
        Assert.Equal([next], _files.Query<int>("SELECT version FROM schema"));
        Assert.Equal([(1L, null)], _files.Query<(long, string?)>("SELECT attempt, note FROM runs"));
        // This build still works on it.
        Assert.IsType<ClaimResult.Recorded>(await (await _files.OpenAsync()).Runs.ClaimAsync(StateFolder.Claim(0, replica: "r2"), Stop));
    }

    [Fact]
    public async Task A_migration_that_fails_leaves_the_schema_as_it_was()
    {
        await (await _files.OpenAsync()).DisposeAsync();
        var version = Migrations.BuildVersion;
        IReadOnlyList<Migration> broken =
        [
            .. Migrations.All,
            new Migration(version + 1, 1, "ALTER TABLE runs ADD COLUMN note TEXT"),
            new Migration(version + 2, 1, "DROP TABLE run_attempts; nonsense"),
        ];
        using var connection = Connect();

        Assert.Throws<SqliteException>(() => Migrations.Apply(connection, _files.File, NullLogger.Instance, broken));

        Assert.Equal([version], _files.Query<int>("SELECT version FROM schema"));
        Assert.Equal([0], _files.Query<int>("SELECT count(*) FROM pragma_table_info('runs') WHERE name = 'note'"));
        Assert.Equal([1], _files.Query<int>("SELECT count(*) FROM sqlite_master WHERE name = 'run_attempts'"));
        Migrations.Apply(connection, _files.File, NullLogger.Instance);
    }

    [Fact]
    public async Task Four_States_that_open_one_new_file_at_once_make_it_once()
    {
        var states = Enumerable.Range(0, 4).Select(_ => _files.State()).ToList();

        await Task.WhenAll(states.Select(s => Task.Run(() => s.OpenAsync(Stop).AsTask(), Stop)));
        var claims = await Task.WhenAll(states.Select((s, i) => s.Runs.ClaimAsync(StateFolder.Claim(0, replica: $"r{i}"), Stop).AsTask()));

        Assert.Single(claims.OfType<ClaimResult.Claimed>());
        Assert.Equal(3, claims.OfType<ClaimResult.Recorded>().Count());
        Assert.Equal([Migrations.BuildVersion], _files.Query<int>("SELECT version FROM schema"));
        Assert.Equal(1, _files.Log.Count(2150));
    }

    private SqliteConnection Connect()
    {
        var connection = new SqliteConnection($"Data Source={_files.File};Pooling=False");
        connection.Open();
        connection.Execute("PRAGMA foreign_keys = ON");
        return connection;
    }
}
