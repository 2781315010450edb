using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Scheduler.Sqlite.Files;

/// <summary>What a look at a lock file showed.</summary>
internal enum FileLockState
{
    /// <summary>There is no such file, or it cannot be opened: nothing is known.</summary>
    Unknown = 0,

    /// <summary>Nobody holds it.</summary>
    Free,

    /// <summary>Somebody holds it.</summary>
    Held,
}

/// <summary>
/// An exclusive lock by flock(2). It belongs to the open file, so two of them exclude each other within one process too, and the
/// kernel lifts it when the process is gone, however it died. Not thread-safe.
/// </summary>
/// <remarks>
/// Not by <see cref="File.OpenHandle"/>: that takes a shared flock of its own on every file it opens. The file is opened with
/// O_CLOEXEC, so that no child process keeps the lock of a dead parent.
/// </remarks>
internal sealed partial class FileLock : IDisposable
{
    private const int OpenReadOnly = 0;
    private const int OpenCreate = 0x40;
    private const int OpenCloseOnExec = 0x80000;
    private const uint Mode = 0b110_100_100;
    private const int LockExclusive = 2;
    private const int LockNonBlocking = 4;
    private const int LockNone = 8;
    private const int Interrupted = 4;
    private const int WouldBlock = 11;

    private readonly string _path;
    private readonly SafeFileHandle _handle;

    private FileLock(string path, SafeFileHandle handle)
    {
        _path = path;
        _handle = handle;
    }

    /// <summary>Opens the file, or makes it; does not lock it.</summary>
    /// <exception cref="IOException">It cannot be opened; the message names the path and the system's reason.</exception>
    public static FileLock Open(string path) => new(path, OpenFile(path, OpenCreate) ?? throw Failed("open", path));

    /// <summary>Says whether anybody holds the lock, without keeping it.</summary>
    public static FileLockState Probe(string path)
    {
        using var handle = OpenFile(path, flags: 0);
        if (handle is null)
        {
            return FileLockState.Unknown;
        }
        return Flock(handle, LockExclusive | LockNonBlocking) switch
        {
            0 => FileLockState.Free,
            WouldBlock => FileLockState.Held,
            _ => FileLockState.Unknown,
        };
    }

    /// <summary>Waits for the lock in the kernel, which wakes all waiters at an unlock; blocks the thread.</summary>
    /// <exception cref="IOException">The system refused.</exception>
    public void Lock()
    {
        int error;
        do
        {
            error = Flock(_handle, LockExclusive);
        } while (error == Interrupted);
        ThrowIf(error, "lock");
    }

    /// <summary>Takes the lock if it is free.</summary>
    /// <exception cref="IOException">The system refused for another reason than that it is held.</exception>
    public bool TryLock()
    {
        var error = Flock(_handle, LockExclusive | LockNonBlocking);
        if (error == WouldBlock)
        {
            return false;
        }
        ThrowIf(error, "lock");
        return true;
    }

    /// <summary>Lets others have the lock; the file stays open.</summary>
    public void Unlock() => ThrowIf(Flock(_handle, LockNone), "unlock");

    /// <summary>Closes the file, which lifts the lock.</summary>
    public void Dispose() => _handle.Dispose();

    private static SafeFileHandle? OpenFile(string path, int flags)
    {
        var descriptor = SysOpen(path, OpenReadOnly | OpenCloseOnExec | flags, Mode);
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    private static int Flock(SafeFileHandle handle, int operation) => SysFlock(handle, operation) == 0 ? 0 : Marshal.GetLastPInvokeError();

    private void ThrowIf(int error, string what)
    {
        if (error != 0)
        {
            throw Failed(what, _path);
        }
    }

    private static IOException Failed(string what, string path) =>
        new($"Cannot {what} '{path}': {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.");

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SysOpen(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SysFlock(SafeFileHandle file, int operation);
}
