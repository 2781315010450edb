using Scheduler.Sqlite.Files;

namespace Scheduler.Tests.Sqlite;

public sealed class FileLockTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("file-lock-");

    private string File => Path.Combine(_folder.FullName, "x.lock");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void Two_of_one_process_exclude_each_other_until_unlocked_or_closed()
    {
        using var one = FileLock.Open(File);
        var two = FileLock.Open(File);
        Assert.True(one.TryLock());
        Assert.False(two.TryLock());
        one.Unlock();
        Assert.True(two.TryLock());
        Assert.False(one.TryLock());
        two.Dispose();
        Assert.True(one.TryLock());
    }

    [Fact]
    public async Task A_waiter_gets_it_when_it_is_free()
    {
        using var one = FileLock.Open(File);
        using var two = FileLock.Open(File);
        one.Lock();
        var waiting = Task.Factory.StartNew(
            two.Lock,
            TestContext.Current.CancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default
        );
        await LockWaiters.BecomeAsync(File, 1);
        Assert.False(waiting.IsCompleted);
        one.Unlock();
        await waiting.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        Assert.False(one.TryLock());
    }

    [Fact]
    public void A_look_shows_who_holds_and_takes_nothing()
    {
        Assert.Equal(FileLockState.Unknown, FileLock.Probe(File));
        using var one = FileLock.Open(File);
        Assert.Equal(FileLockState.Free, FileLock.Probe(File));
        Assert.True(one.TryLock());
        Assert.Equal(FileLockState.Held, FileLock.Probe(File));
    }

    [Fact]
    public void A_place_that_does_not_exist_is_named_with_the_reason()
    {
        var path = Path.Combine(_folder.FullName, "missing", "x.lock");
        var problem = Assert.Throws<IOException>(() => FileLock.Open(path));
        Assert.Contains($"'{path}'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("No such file", problem.Message, StringComparison.Ordinal);
    }
}
